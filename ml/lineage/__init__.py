"""Where a version came from: landing files, batches, lake versions, features, training set, run, decision, promotions."""

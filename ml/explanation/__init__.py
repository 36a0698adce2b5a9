"""What people read of a version: attributions and reasons, the exploration of its training set, and its model card."""

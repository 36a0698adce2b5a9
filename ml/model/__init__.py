"""A fitted model: its inputs, scores, calibration and formats. All that scoring needs, and no more."""

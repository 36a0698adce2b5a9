"""Feast: the point-in-time join for training sets, materialization, and reads from the online store."""

import ml

ml.import_feast_unchecked()

"""Cuts, freezes, fits and exports: from events and features to a model that can be judged."""

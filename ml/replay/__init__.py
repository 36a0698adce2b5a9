"""Policies of retraining over history: day by day under `as_of`, through the very steps that a deployment runs."""

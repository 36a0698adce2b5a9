"""Decides about incoming rows: accept, set aside with reasons, or stop the batch."""

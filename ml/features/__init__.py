"""Windowed aggregates, published at a known instant and never changed afterwards."""

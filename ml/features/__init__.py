"""Windowed aggregates as SQL, published at a known instant and never changed afterwards."""

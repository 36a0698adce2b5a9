"""Versioned tables: every commit is a version to which a training set can return."""

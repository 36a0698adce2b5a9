"""Peers side by side: each module is a command with `--help` that prints one JSON object as its last line."""

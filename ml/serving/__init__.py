"""The scoring service: the champion answers, and every answer is on disk before it is given."""

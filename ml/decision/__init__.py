"""Decides whether to train, whether a model is better than the champion, and whether it becomes champion."""

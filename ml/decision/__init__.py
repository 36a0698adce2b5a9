"""What is decided about a model, and who decides: whether to train, whether it is better, whether it becomes champion."""

"""The training loop and its safety: steps, checkpoints, guards, ranks."""

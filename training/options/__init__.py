"""The options of a training run."""

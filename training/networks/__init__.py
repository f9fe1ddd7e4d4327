"""The networks of a training run: built, started, checked."""

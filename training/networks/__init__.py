"""Building, initialising and checking the networks of a training run."""

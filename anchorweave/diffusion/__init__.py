"""Training objectives and noise levels; contains no networks."""

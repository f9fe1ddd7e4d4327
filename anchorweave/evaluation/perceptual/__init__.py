"""Optional metrics that need large networks; computed if the weights are available."""

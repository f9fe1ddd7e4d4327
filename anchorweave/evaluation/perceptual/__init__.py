"""Optional metrics that need large networks; they are measured if their weights are there."""

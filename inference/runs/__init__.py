"""What every run of the networks shares: its source, path, networks and output."""

"""Parts shared by all runs of the networks: source, path, networks and output."""

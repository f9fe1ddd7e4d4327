"""What memory systems show without any network."""

"""What is trained, and at which noise levels; no network inside."""

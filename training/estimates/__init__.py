"""Cost of a run and its missing inputs, determined before it is started."""

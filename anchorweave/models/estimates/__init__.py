"""Cost of networks, counted on torch's meta device: needs no data, no GPU and no weights."""

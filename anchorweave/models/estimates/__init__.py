"""What networks take, counted on torch's meta device: shapes and no numbers, no GPU, no weights."""

"""Small networks with random weights, of the same classes as the large ones."""

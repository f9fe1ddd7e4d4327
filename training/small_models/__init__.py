"""Training of the small autoencoder and text encoder."""

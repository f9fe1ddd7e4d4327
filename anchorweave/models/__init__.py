"""The networks: the only folder that uses model classes of diffusers and transformers."""

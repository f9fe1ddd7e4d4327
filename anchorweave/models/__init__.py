"""The networks: the only folder that knows diffusers' and transformers' model classes."""

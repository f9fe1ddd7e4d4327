"""The stages of a recipe: their inputs, and running them."""

"""The stages of a recipe: their inputs, and how they are run."""

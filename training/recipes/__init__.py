"""The stages of a recipe: what each is made from, and how it is run."""

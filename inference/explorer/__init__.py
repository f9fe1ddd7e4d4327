"""The explorer: a memory to look at, and a path to draw, in the browser."""

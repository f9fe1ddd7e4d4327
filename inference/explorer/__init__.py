"""The explorer: view a memory and draw camera paths in the browser."""

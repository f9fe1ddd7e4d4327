"""Procedural furnished rooms, rendered with exact depth, as recordings."""

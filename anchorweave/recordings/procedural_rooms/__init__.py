"""Furnished rooms that exist as numbers, rendered with exact depth: recordings without a camera."""

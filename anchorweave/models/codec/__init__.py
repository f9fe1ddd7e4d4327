"""Conversion of videos and prompts to network inputs and back, by family."""

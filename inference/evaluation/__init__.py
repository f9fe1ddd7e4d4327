"""Rows of videos on held-out clips, and what they are worth."""

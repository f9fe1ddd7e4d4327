"""Rows of videos on held-out clips, and their scores."""

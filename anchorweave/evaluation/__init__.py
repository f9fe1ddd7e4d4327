"""Metrics of generated videos, memories and cameras, and their reports."""

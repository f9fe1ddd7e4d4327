"""Formats published by others: a phone app, and data sets with their own camera conventions."""

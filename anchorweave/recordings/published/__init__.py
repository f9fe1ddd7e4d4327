"""Layouts that others publish: a phone app, and data sets with cameras of their own."""

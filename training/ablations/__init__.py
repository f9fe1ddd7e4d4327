"""Runs the tables of the papers; on top of both training and inference."""

"""Runs the papers' tables with this code; imports both training and inference."""

"""Builds, initialises and checks the networks of a training run."""

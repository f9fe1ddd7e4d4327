"""The weaving controller and its parts."""

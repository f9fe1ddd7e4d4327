"""Networks that show reference frames to a backbone."""

"""Networks that feed reference frames to a backbone."""

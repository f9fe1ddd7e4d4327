"""Optional metrics that rest on large networks: they are measured where their weights lie."""

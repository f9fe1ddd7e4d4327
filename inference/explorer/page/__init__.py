"""What the browser shows of an exploration: a section a file, all of them over one session."""

"""The explorer's page in the browser: one section per file, all sharing one session."""

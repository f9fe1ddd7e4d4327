"""Errors whose message is all that a user needs, beside ValueError and OSError."""


class ToldError(Exception):
    """A user error; entry points print its message without a traceback."""


class EndedError(ToldError, RuntimeError):
    """A run that ended itself; the message says why, and how to continue."""


class OutsideError(ToldError, IndexError):
    """A requested frame does not exist."""

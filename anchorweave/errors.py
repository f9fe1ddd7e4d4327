"""Errors whose message is all a user needs, in addition to ValueError and OSError."""


class ToldError(Exception):
    """An error the user can fix; entry points print its message without traceback."""


class EndedError(ToldError, RuntimeError):
    """A run that stopped itself; the message says why, and how to continue."""


class OutsideError(ToldError, IndexError):
    """A requested frame does not exist."""

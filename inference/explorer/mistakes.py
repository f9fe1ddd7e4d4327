"""Error messages for the page; exceptions in threads would otherwise go unnoticed."""

from __future__ import annotations

import traceback

from anchorweave.errors import ToldError


def told_of(error: Exception) -> str:
    """One message: user errors as they are; any other error also prints its traceback."""
    if isinstance(error, (ValueError, OSError, ToldError)):
        return str(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error} (see the terminal)"

"""What a page says of an exception, which nobody would see in a thread."""

from __future__ import annotations

import traceback

from anchorweave.errors import ToldError


def told_of(error: Exception) -> str:
    """One message: the user's mistakes as they say it, any other with its traceback printed."""
    if isinstance(error, (ValueError, OSError, ToldError)):
        return str(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error} (see the terminal)"

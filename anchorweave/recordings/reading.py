"""Reading files written by others: text in UTF-8, and errors that name the recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UnreadableError(ValueError):
    """A recording on which a reader or decoder failed unexpectedly."""


@contextmanager
def reading(where: object) -> Iterator[None]:
    """Turns any exception while reading `where` into an error that names the recording.

    Batch jobs over many recordings catch ValueError and FileNotFoundError and continue with the
    next one. Decoders raise anything: a decompression bomb, a recursion, a MemoryError.

    Raises:
        UnreadableError: instead of any other exception class.
    """
    try:
        yield
    except (ValueError, FileNotFoundError):
        raise
    except Exception as error:
        raise UnreadableError(
            f"{where}: cannot be read ({type(error).__name__}: {error})"
        ) from error


def text_of(file: Path) -> str:
    """The text of `file`, which must be UTF-8, with or without a byte order mark.

    Raises:
        ValueError: another encoding.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not UTF-8 text ({error}); save it as UTF-8") from error

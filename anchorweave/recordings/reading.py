"""Reading what others wrote: text in any of its encodings, and errors that name the recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UnreadableError(ValueError):
    """A recording on which a reader or a decoder failed in a way that nobody foresaw."""


@contextmanager
def reading(where: object) -> Iterator[None]:
    """Turns errors while reading `where` into an error of that recording that names it.

    Work on many recordings catches ValueError and FileNotFoundError of one and goes on with the
    others. Decoders raise anything: a decompression bomb, a recursion, a MemoryError.

    Raises:
        UnreadableError: in the place of an exception of another class.
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
    """The text of `file`, which is UTF-8, with a byte order mark or without.

    Raises:
        ValueError: another encoding.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is no UTF-8 text ({error}); save it as UTF-8") from error

"""Loading and saving models without the libraries' own progress bars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.utils import logging as diffusers_logging
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
from transformers.utils import logging as transformers_logging


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Context that silences the progress bars of transformers and diffusers."""
    hub_was_quiet = are_progress_bars_disabled()
    silenced = [
        library
        for library in (transformers_logging, diffusers_logging)
        if library.is_progress_bar_enabled()
    ]
    for library in silenced:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in silenced:
            library.enable_progress_bar()
        # transformers enables the hub's progress bars together with its own.
        if hub_was_quiet:
            disable_progress_bars()

"""The networks of an exploration, loaded in the background while one looks around."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from anchorweave.run_config import RunConfig
from anchorweave.world import Generate


class Networks:
    """The networks that a config describes, loaded once, by whoever asks first.

    Args:
        config: of the run.
    """

    def __init__(self, config: RunConfig):
        self.config = config
        self._lock = threading.Lock()
        self._loaded: tuple[Any, str] | None = None

    def get(self) -> tuple[Any, str]:
        """The pipeline, and a line that says which weights it has.

        Raises:
            ValueError: as `load_pipeline`.
            FileNotFoundError: there are none.
        """
        # Imported here: diffusers takes seconds, and the page is there before.
        from inference.runs.generator import load_pipeline

        with self._lock:
            if self._loaded is None:
                self._loaded = load_pipeline(self.config)
            return self._loaded

    def generator(self, prompt: str, on_step: Callable[[int], None]) -> Generate:
        """As a function (first frame, what memory knows, seed) -> video.

        Args:
            prompt: what is shown.
            on_step: is told the number of every denoising step that is done; what it raises ends
                the call.
        """
        from inference.runs.generator import make_generator

        return make_generator(self.get()[0], self.config.sampling, prompt, on_step)

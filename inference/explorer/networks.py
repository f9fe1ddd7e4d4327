"""The networks of an exploration, loaded in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from anchorweave.run_config import RunConfig
from anchorweave.world import Generate


class Networks:
    """The networks that a config describes, loaded once, on first use.

    Args:
        config: config of the run.
    """

    def __init__(self, config: RunConfig):
        self.config = config
        self._lock = threading.Lock()
        self._loaded: tuple[Any, str] | None = None

    def get(self) -> tuple[Any, str]:
        """The pipeline, and a line that says which weights it has.

        Raises:
            ValueError: as `load_pipeline`.
            FileNotFoundError: no weights.
        """
        # Imported here, because diffusers takes seconds to import and the page should appear first.
        from inference.runs.generator import load_pipeline

        with self._lock:
            if self._loaded is None:
                self._loaded = load_pipeline(self.config)
            return self._loaded

    def generator(self, prompt: str, on_step: Callable[[int], None]) -> Generate:
        """The networks as a function (first frame, retrieved, seed) -> video.

        Args:
            prompt: the prompt.
            on_step: called with the number of each completed denoising step; an exception raised by
                it aborts the call.
        """
        from inference.runs.generator import make_generator

        return make_generator(self.get()[0], self.config.sampling, prompt, on_step)

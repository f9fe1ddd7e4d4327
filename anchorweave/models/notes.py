"""The note in a model folder about its weights."""

from __future__ import annotations

import json
from pathlib import Path

# Diffusers ignores names with a leading underscore when listing the pipeline's components.
WEIGHTS_NOTE = "_weights"
UNTRAINED = "random (untrained)"


def weights_note(path: str | Path) -> str | None:
    """The note about its weights in the model folder `path`; None = it has none.

    A pipeline saved after loading has none, because its weights may have changed.

    Raises:
        FileNotFoundError: no model_index.json in `path`.
    """
    return json.loads((Path(path) / "model_index.json").read_text()).get(WEIGHTS_NOTE)

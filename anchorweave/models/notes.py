"""The note in a model folder about its weights."""

from __future__ import annotations

import json
from pathlib import Path

# Diffusers does not take names with an underscore for parts of the pipeline.
WEIGHTS_NOTE = "_weights"
UNTRAINED = "random (untrained)"


def weights_note(path: str | Path) -> str | None:
    """The remark that the model folder `path` carries about its weights; None = it has none.

    A pipeline saved from a loaded one has none, because its weights may have changed.

    Raises:
        FileNotFoundError: no model_index.json in `path`.
    """
    return json.loads((Path(path) / "model_index.json").read_text()).get(WEIGHTS_NOTE)

"""What a model folder says about its own weights."""

from __future__ import annotations

import json
from pathlib import Path

# An underscore keeps it out of what diffusers takes for parts of the pipeline.
WEIGHTS_NOTE = "_weights"
UNTRAINED = "random (untrained)"


def weights_note(path: str | Path) -> str | None:
    """The remark that the model folder `path` carries about its weights; None = it has none.

    A pipeline saved from a loaded one carries none: its weights may be others by then.

    Raises:
        FileNotFoundError: no model_index.json in `path`.
    """
    return json.loads((Path(path) / "model_index.json").read_text()).get(WEIGHTS_NOTE)

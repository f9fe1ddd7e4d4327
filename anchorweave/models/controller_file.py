"""A weaving controller from wherever its weights lie."""

from __future__ import annotations

from pathlib import Path

from diffusers import CogVideoXTransformer3DModel

from anchorweave.models.controller import WeavingController
from anchorweave.models.weights import load_released_checkpoint
from anchorweave.models.whole import load_whole


def load_controller(
    path: str | Path, transformer: CogVideoXTransformer3DModel, released_weights: str = "ema"
) -> WeavingController:
    """A saved controller, or a released one in the sizes of its backbone.

    Args:
        path: a folder that one was saved to, or the authors' released `.pt`.
        transformer: the backbone that a released one is for.
        released_weights: which of a released file: `ema` or `live`.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: released weights that do not fit the backbone, or a folder that lacks some.
    """
    if Path(path).suffix != ".pt":
        if not Path(path).is_dir():
            raise FileNotFoundError(
                f"no controller at {path}: expected a folder that one was saved to, or a .pt file"
            )
        return load_whole(WeavingController, path)
    controller = WeavingController.from_backbone(transformer)
    load_released_checkpoint(path, controller, released_weights)
    return controller

"""Makes weaving controllers: new, copied from the backbone, released or saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.weaving.initialisation import copy_backbone_blocks
from anchorweave.models.weaving.released_file import SUFFIXES, is_released_file
from anchorweave.models.weaving.released_weights import load_released_checkpoint
from anchorweave.models.whole import load_whole

NEW, FROM_BACKBONE = "new", "from_backbone"


@dataclass(frozen=True)
class ControllerOptions:
    """Options not determined by the backbone; see `WeavingController`.

    Args:
        layers: number of woven backbone layers; None = its family's default.
        heads: attention heads; None = its family's default, or as many as the backbone if its
            blocks are copied.
        fusion: `pose_guided` or `average`.
        attention: `joint` or `separate`.
        tokens: `all` or `visible`.
        holes: how holes of its anchors are filled: `black`, `cracks` or `filled`.
        every: stride between woven layers, starting with the first.
        coverage: whether each token gets the fraction of its pixels that were observed.
    """

    layers: int | None = None
    heads: int | None = None
    fusion: str = "pose_guided"
    attention: str = "joint"
    tokens: str = "all"
    holes: str = "black"
    every: int = 1
    coverage: bool = False


def make_controller(
    backbone: nn.Module,
    source: str | Path = NEW,
    options: ControllerOptions | None = None,
    released_weights: str = "ema",
) -> WeavingController:
    """A controller for `backbone`.

    Args:
        backbone: a backbone of a known family.
        source: `new`, with weights from torch's random state; `from_backbone`, with copies of the
            backbone's first blocks; a released file, `.pt` or `.safetensors`; or a folder with a
            saved one, which has its own options.
        options: for all but saved ones; None = those of the released controller.
        released_weights: which weights of a released file: `ema` or `live`.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: weights that do not fit the backbone, or missing weights.
    """
    path = None if source in (NEW, FROM_BACKBONE) else Path(source)
    if path is not None and not is_released_file(path):
        if not path.is_dir():
            raise FileNotFoundError(
                f"no controller at {path}: expected a folder with a saved one, or a released "
                f"file ({', '.join(SUFFIXES)})"
            )
        return load_whole(WeavingController, path)
    options = options or ControllerOptions()
    heads, feed_forward = options.heads, None
    if source == FROM_BACKBONE:
        sizes = family_of(backbone).sizes(backbone)
        heads = sizes.num_heads if heads is None else heads
        if sizes.feed_forward != 4 * sizes.backbone_dim:
            feed_forward = sizes.feed_forward
    controller = WeavingController.from_backbone(
        backbone,
        num_layers=options.layers,
        num_heads=heads,
        fusion=options.fusion,
        attention=options.attention,
        tokens=options.tokens,
        holes=options.holes,
        every=options.every,
        feed_forward=feed_forward,
        coverage=options.coverage,
    )
    if source == FROM_BACKBONE:
        copy_backbone_blocks(controller, backbone)
    elif path is not None:
        load_released_checkpoint(path, controller, released_weights)
    return controller

"""Makes weaving controllers: new, copied from the backbone, released or saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.weaving.initialisation import copy_backbone_blocks
from anchorweave.models.weaving.released_weights import load_released_checkpoint
from anchorweave.models.whole import load_whole

NEW, FROM_BACKBONE = "new", "from_backbone"


@dataclass(frozen=True)
class ControllerOptions:
    """What is not decided by the backbone; see `WeavingController`.

    Args:
        layers: of the backbone that are woven; None = its family's share.
        heads: attention heads; None = its family's share, or as many as the backbone where its
            blocks are copied.
        fusion: `pose_guided` or `average`.
        attention: `joint` or `separate`.
        tokens: `all` or `visible`.
        holes: of its anchors: `black`, `cracks` or `filled`.
        every: which layers are woven: every so many, from the first on.
        coverage: whether each token is told which share of its pixels was seen.
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
        backbone: of a known family.
        source: `new`, with weights from torch's random state; `from_backbone`, whose blocks are
            the backbone's first; the authors' released `.pt`; or a folder that one was saved to,
            which has options of its own.
        options: of one that is not saved in a folder; None = those of the released controller.
        released_weights: which of a released file: `ema` or `live`.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: weights that do not fit the backbone, or a folder that lacks some.
    """
    path = None if source in (NEW, FROM_BACKBONE) else Path(source)
    if path is not None and path.suffix != ".pt":
        if not path.is_dir():
            raise FileNotFoundError(
                f"no controller at {path}: expected a folder that one was saved to, or a .pt file"
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

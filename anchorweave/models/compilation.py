"""torch.compile of what repeats: the blocks of backbone and controller, each kind once."""

from __future__ import annotations

import logging
from typing import Any

from torch import nn

from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController


def compile_blocks(backbone: nn.Module, controller: WeavingController | None, **how: Any) -> None:
    """Compile the blocks, each kind once for all of its layers.

    Everything around them (embeddings, fusion, what is added to the tokens) stays as it is. The
    first call takes minutes, and so does the first one with another number of visible tokens; from
    then on that number may change without compiling anew.

    Args:
        backbone: of any family.
        controller: made for it, or None.
        **how: for `torch.compile`.
    """
    blocks = list(family_of(backbone).blocks(backbone))
    if controller is not None:
        blocks += controller.blocks
    for block in blocks:
        block.compile(**how)
    logging.getLogger(__name__).warning(
        "the blocks of the networks are compiled when they are first called, which takes minutes"
    )

"""torch.compile of the repeated blocks of backbone and controller, each kind once."""

from __future__ import annotations

import logging
from typing import Any

from torch import nn

from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController


def compile_blocks(backbone: nn.Module, controller: WeavingController | None, **how: Any) -> None:
    """Compiles the blocks, each kind once for all of its layers.

    Everything around them (embeddings, fusion, features added to tokens) is not compiled. The first
    call takes minutes, and so does the first one with a different number of visible tokens; after
    that the number may change without recompilation.

    Args:
        backbone: of any family.
        controller: made for it, or None.
        **how: arguments of `torch.compile`.
    """
    blocks = list(family_of(backbone).blocks(backbone))
    if controller is not None:
        blocks += controller.blocks
    for block in blocks:
        block.compile(**how)
    logging.getLogger(__name__).warning(
        "the networks' blocks are compiled on their first call, which takes minutes"
    )

"""Initialises a controller from its backbone's own blocks, as in ControlNet."""

from __future__ import annotations

from torch import nn

from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController


def copy_backbone_blocks(controller: WeavingController, backbone: nn.Module) -> None:
    """Copies the backbone's first blocks, text projection and time embedding to the controller.

    The output projections stay zero, so the woven backbone's output is still unchanged.

    Args:
        controller: has the backbone's width, that is as many heads.
        backbone: the backbone it was made for.

    Raises:
        ValueError: another width, such as with the released sizes: 16 heads of 64 instead of 48.
    """
    family = family_of(backbone)
    heads, own = controller.config.num_heads, family.sizes(backbone).num_heads
    if heads != own:
        dim = controller.config.head_dim
        raise ValueError(
            f"the backbone's blocks are {own * dim} wide ({own} heads of {dim}), the controller's "
            f"{heads * dim} ({heads} heads): they cannot be copied. Set model.heads={own} (a "
            "much larger controller), or model.new_controller=random"
        )
    woven = family.blocks(backbone)[:: controller.config.every]
    for block, source in zip(controller.blocks, woven, strict=False):
        block.load_state_dict(source.state_dict())
    for name, source in family.sources(backbone).items():
        controller.get_submodule(name).load_state_dict(source.state_dict())

"""A controller that starts from its backbone's own blocks, as ControlNets do."""

from __future__ import annotations

from torch import nn

from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController


def copy_backbone_blocks(controller: WeavingController, backbone: nn.Module) -> None:
    """Fills the controller's blocks, text projection and time embedding with the backbone's first.

    The output projections stay zero, so the woven backbone still answers as before.

    Args:
        controller: of the backbone's width, that is with as many heads.
        backbone: what it was made for.

    Raises:
        ValueError: another width. The released sizes are such a case: 16 heads of 64 beside 48.
    """
    family = family_of(backbone)
    heads, own = controller.config.num_heads, family.sizes(backbone).num_heads
    if heads != own:
        dim = controller.config.head_dim
        raise ValueError(
            f"the backbone's blocks are {own * dim} wide ({own} heads of {dim}), the controller's "
            f"{heads * dim} ({heads} heads): they cannot be copied. Set model.heads={own} (a "
            "controller that much larger), or model.new_controller=random"
        )
    woven = family.blocks(backbone)[:: controller.config.every]
    for block, source in zip(controller.blocks, woven, strict=False):
        block.load_state_dict(source.state_dict())
    for name, source in family.sources(backbone).items():
        controller.get_submodule(name).load_state_dict(source.state_dict())

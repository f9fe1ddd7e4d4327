"""A controller that starts from its backbone's own blocks, as ControlNets do."""

from __future__ import annotations

from diffusers import CogVideoXTransformer3DModel

from anchorweave.models.controller import WeavingController


def copy_backbone_blocks(
    controller: WeavingController, backbone: CogVideoXTransformer3DModel
) -> None:
    """Fills the controller's blocks, text projection and time embedding with the backbone's first.

    The output projections stay zero, so the woven backbone still answers as before.

    Args:
        controller: as wide as the backbone: one that has as many heads.
        backbone: what it was made for.

    Raises:
        ValueError: another width. The released sizes are such a case: 16 heads of 64 beside 48.
    """
    heads, own = controller.config.num_heads, backbone.config.num_attention_heads
    if heads != own:
        dim = controller.config.head_dim
        raise ValueError(
            f"the backbone's blocks are {own * dim} wide ({own} heads of {dim}), the controller's "
            f"{heads * dim} ({heads} heads): they cannot be copied. Set network.heads={own} (a "
            "controller that much larger), or network.controller=new"
        )
    for block, source in zip(controller.blocks, backbone.transformer_blocks, strict=False):
        block.load_state_dict(source.state_dict())
    controller.text_proj.load_state_dict(backbone.patch_embed.text_proj.state_dict())
    controller.time_embedding.load_state_dict(backbone.time_embedding.state_dict())

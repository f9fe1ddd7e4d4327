"""Temporarily replaces a backbone's blocks, without modifying diffusers' transformer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anchorweave.models.backbones import Family, family_of


@contextmanager
def add_features(
    backbone: nn.Module,
    before: Sequence[Float[Tensor, "B _ D"]] = (),
    after: Sequence[Float[Tensor, "B _ D"]] = (),
    ahead: int = 0,
    every: int = 1,
) -> Iterator[None]:
    """Context in which features are added to the image tokens of some backbone blocks.

    Args:
        backbone: of any family; its own blocks are restored on exit.
        before: for the i-th of these blocks the features added before it, [B, L, D] per
            token or [B, t, D] for all tokens of a latent frame.
        after: likewise, added after it.
        ahead: number of reference tokens before the video's, to which nothing is added.
        every: stride between these blocks, starting with the first.

    Raises:
        ValueError: more features than blocks, or features that do not match the tokens.

    Source: paper section 3.4; the released backbone adds camera features before and control
    features after its blocks.
    """
    family = family_of(backbone)
    blocks = family.blocks(backbone)
    count = max(len(before), len(after))
    if count and (count - 1) * every >= len(blocks):
        raise ValueError(
            f"cannot weave {count} layers of features into {len(blocks)} backbone blocks; "
            "use a controller with at most as many layers"
        )
    woven = {
        i * every: _WovenBlock(
            family,
            blocks[i * every],
            before[i] if i < len(before) else None,
            after[i] if i < len(after) else None,
            ahead,
        )
        for i in range(count)
    }
    with replace_blocks(backbone, woven):
        yield


@contextmanager
def replace_blocks(backbone: nn.Module, modules: Mapping[int, nn.Module]) -> Iterator[None]:
    """Context in which other modules replace some of the backbone's blocks.

    Modules rather than hooks: gradient checkpointing calls the module again in the backward pass,
    when hooks would be gone. So the output of a module may depend only on its input.

    Args:
        backbone: of any family; its own blocks are restored on exit.
        modules: by block index, with the call signature of the block.
    """
    blocks = family_of(backbone).blocks(backbone)
    originals = {i: blocks[i] for i in modules}
    try:
        for i, module in modules.items():
            blocks[i] = module
        yield
    finally:
        for i, block in originals.items():
            blocks[i] = block


class _WovenBlock(nn.Module):
    def __init__(
        self,
        family: Family,
        block: nn.Module,
        before: Tensor | None,
        after: Tensor | None,
        ahead: int,
    ):
        super().__init__()
        self.family = family
        self.block = block
        self.before = before
        self.after = after
        self.ahead = ahead

    def forward(self, hidden_states: Tensor, *args, **kwargs) -> Any:
        if self.before is not None:
            hidden_states = _add(hidden_states, self.before, self.ahead)
        answer = self.block(hidden_states, *args, **kwargs)
        if self.after is not None:
            tokens = _add(self.family.tokens(answer), self.after, self.ahead)
            answer = self.family.with_tokens(answer, tokens)
        return answer


def _add(tokens: Tensor, features: Tensor, ahead: int) -> Tensor:
    if ahead:
        return torch.cat([tokens[:, :ahead], _add(tokens[:, ahead:], features, 0)], dim=1)
    (B, L, D), (b, groups, d) = tokens.shape, features.shape
    if (b, d) != (B, D) or L % groups:
        raise ValueError(
            f"features of shape {tuple(features.shape)} do not match image tokens of shape "
            f"{(B, L, D)}; batch and width must agree and the groups divide the tokens"
        )
    # [B, L, D] viewed as [B, t, h*w, D], so that a frame's feature is never repeated per token
    grouped = tokens.unflatten(1, (groups, L // groups)) + features.to(tokens)[:, :, None]
    # Copied, because compiled blocks would be recompiled for views.
    return torch.ops.aten._unsafe_view(grouped, [B, L, D])

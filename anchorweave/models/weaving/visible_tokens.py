"""Which tokens are visible, and their coverage, from masks of observed pixels."""

from __future__ import annotations

import torch
from einops import reduce
from jaxtyping import Bool, Float
from torch import Tensor


def visible_tokens(
    visible: Bool[Tensor, "*batch T H W"],
    spatial: int,
    temporal: int,
    first_frame: str = "seen",
) -> Bool[Tensor, "*batch t h2 w2"]:
    """Which latent tokens are visible: those with at least half of their pixels observed.

    Args and errors as in `coverage`.

    Source: released code, average pooling of the masks (the paper does not say).
    """
    return seen_by(coverage(visible, spatial, temporal, first_frame))


def seen_by(coverage: Float[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
    """Which tokens are visible, given their coverage."""
    # A ratio of such small integers rounds to one half only if it is exactly one half.
    return coverage >= 0.5


def coverage(
    visible: Bool[Tensor, "*batch T H W"],
    spatial: int,
    temporal: int,
    first_frame: str = "seen",
) -> Float[Tensor, "*batch t h2 w2"]:
    """Fraction of each token's pixels that were observed, in [0, 1], float32.

    The first pixel frame is a latent frame of its own; every further latent frame covers
    `temporal` pixel frames.

    Args:
        visible: [..., T, H, W], True where a pixel was actually observed.
        spatial: pixels along one side of a token (VAE compression times patch size).
        temporal: pixel frames per latent frame.
        first_frame: how to treat latent frame 0. `seen` pools it like the others; `always`
            treats all of it as visible regardless, as the released code does, which lets the black
            first frame of a padded anchor take part in the fusion.

    Returns:
        [..., t, H // spatial, W // spatial] with t = (T - 1) // temporal + 1.

    Raises:
        ValueError: T not of the form `temporal * k + 1`, a size not divisible into tokens, or an
            unknown `first_frame`.
    """
    T, H, W = visible.shape[-3:]
    if T % temporal != 1 % temporal:
        raise ValueError(f"{T} frames are not {temporal} * k + 1; cut the video to such a length")
    if H % spatial or W % spatial:
        raise ValueError(
            f"a video of {H}x{W} (height x width) does not divide into tokens of "
            f"{spatial}x{spatial} pixels; resize or crop it"
        )
    if first_frame not in ("seen", "always"):
        raise ValueError(f"first_frame is seen or always, got {first_frame!r}")
    first = _share(visible[..., :1, :, :], spatial, 1)
    if first_frame == "always":
        first = torch.ones_like(first)
    return torch.cat([first, _share(visible[..., 1:, :, :], spatial, temporal)], dim=-3)


def _share(visible: Tensor, spatial: int, temporal: int) -> Tensor:
    # Counting in integers first makes ties at one half exact.
    seen = reduce(
        visible,
        "... (t a) (h b) (w c) -> ... t h w",
        "sum",
        a=temporal,
        b=spatial,
        c=spatial,
    )
    return seen.float() / (temporal * spatial * spatial)

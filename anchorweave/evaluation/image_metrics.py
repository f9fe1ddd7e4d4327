"""PSNR and SSIM of a video against another, over all or only visible pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Identical 8-bit images have infinite PSNR; 100 dB is far beyond 8-bit precision.
IDENTICAL_DB = 100.0


def psnr(
    video: Float[Tensor, "*batch 3 H W"],
    truth: Float[Tensor, "*batch 3 H W"],
    visible: Bool[Tensor, "*batch H W"] | None = None,
) -> float | None:
    """Peak signal-to-noise ratio in dB over all pixels, or pooled over `visible` ones.

    Args:
        video: colours in [0, 1].
        truth: colours in [0, 1].
        visible: the pixels that count; None = all.

    Returns:
        At most 100 dB; None if no pixel counts.

    Raises:
        ValueError: a counted colour is not finite.
    """
    squared = (video.double() - truth.double()).square().mean(dim=-3)
    if visible is not None:
        squared = squared[visible]
    if squared.numel() == 0:
        return None
    error = squared.mean()
    # Not a number is neither above nor below 0.
    if not error.isfinite():
        raise ValueError(
            f"{int((~squared.isfinite()).sum())} of {squared.numel()} pixels to compare have "
            "colours that are not finite"
        )
    return min(IDENTICAL_DB, (-10 * torch.log10(error)).item()) if error > 0 else IDENTICAL_DB


def ssim(
    video: Float[Tensor, "T 3 H W"],
    truth: Float[Tensor, "T 3 H W"],
    visible: Bool[Tensor, "T H W"] | None = None,
) -> float | None:
    """Structural similarity in [-1, 1], mean over pixels (Gaussian window of 11 pixels).

    Args:
        video: colours in [0, 1].
        truth: colours in [0, 1].
        visible: the pixels whose windows count; None = all.

    Returns:
        None if no pixel counts.
    """
    return ssim_of_parts(video, truth, [visible])[0]


def ssim_of_parts(
    video: Float[Tensor, "T 3 H W"],
    truth: Float[Tensor, "T 3 H W"],
    parts: Sequence[Bool[Tensor, "T H W"] | None],
) -> list[float | None]:
    """`ssim` for several sets of pixels, at the cost of one.

    Raises:
        ValueError: a colour is not finite.
    """
    if not (video.isfinite().all() and truth.isfinite().all()):
        raise ValueError("videos to compare have colours that are not finite")
    # Imported here, because torchmetrics takes seconds to import.
    from torchmetrics.functional.image import structural_similarity_index_measure

    mean, local = structural_similarity_index_measure(
        video, truth, data_range=1.0, return_full_image=True
    )
    local = local.mean(dim=1)
    return [
        mean.item() if part is None else local[part].mean().item() if part.any() else None
        for part in parts
    ]

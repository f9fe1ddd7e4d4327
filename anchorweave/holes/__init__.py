"""How holes of anchor videos are filled: left black, or with the colour of the nearest seen pixel.

A rendered anchor is black between its points, along dropped depth edges and where memory saw
nothing. One black pixel affects every latent around it, in four frames, so that the autoencoder's
latents say little about the pixels that were seen. Filling holes first keeps those latents close to
the true video's; `visible` still says which pixels were seen. Our addition; not in the papers.

Used in two places: to compare memories with their holes filled, and before networks encode anchors.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.holes import nearest_numba, nearest_torch

HOLES = ("black", "cracks", "filled")
# Cracks are gaps of a few missing points, one pixel each at any resolution, so this is not a
# fraction of the image size (not given in the paper).
CRACK_REACH = 4


def fill_holes(
    video: Float[Tensor, "*batch T 3 H W"],
    visible: Bool[Tensor, "*batch T H W"],
    holes: str,
    reach: int = CRACK_REACH,
) -> Float[Tensor, "*batch T 3 H W"]:
    """The video with its unseen pixels filled according to `holes`, frame by frame.

    Args:
        video: colours in [0, 1].
        visible: True where a pixel was actually seen.
        holes: `black` leaves the video unchanged. `filled` gives each unseen pixel the colour of
            the nearest seen one; a frame without seen pixels stays unchanged. `cracks` does so only
            within `reach` pixels.
        reach: distance in pixels.

    Returns:
        A new video on the same device, or the input itself for `black`. Ties between equally near
        pixels are broken arbitrarily but deterministically per device type.

    Raises:
        ValueError: unknown `holes`, negative `reach`, or mismatched shapes or devices.
    """
    check_holes(holes)
    if reach < 0:
        raise ValueError(f"reach={reach} pixels: must be 0 or more")
    T, _, H, W = video.shape[-4:]
    if visible.shape != (*video.shape[:-4], T, H, W) or visible.device != video.device:
        raise ValueError(
            f"a video {tuple(video.shape)} on {video.device} does not go with visible pixels "
            f"{tuple(visible.shape)} on {visible.device}"
        )
    if holes == "black":
        return video
    fill = (nearest_numba if video.device.type == "cpu" else nearest_torch).fill
    most = reach if holes == "cracks" else H + W
    return fill(video.reshape(-1, 3, H, W), visible.reshape(-1, H, W), most).reshape(video.shape)


def check_holes(holes: str) -> None:
    """Rejects values that are not in `HOLES`.

    Raises:
        ValueError: an unknown value.
    """
    if holes not in HOLES:
        raise ValueError(f"holes is one of {', '.join(HOLES)}; got {holes!r}")

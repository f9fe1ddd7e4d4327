"""What an anchor video holds where nothing was seen: black, or the colour of a seen pixel nearby.

A rendered anchor is black between its points, along dropped depth edges and where memory saw
nothing. One black pixel reaches every latent value around it, in four frames, so that an
autoencoder's latents say little of the pixels that were seen. Filling them first keeps those
latents near the true video's; which pixels were seen is told by `visible`, which stays as it is.
Our addition; the papers do not mention it.

Both halves of the house read this: memory is compared with its holes filled, and networks encode
what is filled.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.holes import nearest_numba, nearest_torch

HOLES = ("black", "cracks", "filled")
# Cracks are as wide as the few points that are missing between two, each one pixel at any size, so
# this is no share of the image (not given in the paper).
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
        visible: True where a pixel was really seen.
        holes: `black` leaves the video as it is. `filled` gives each unseen pixel the colour of
            the nearest seen one; a frame without any stays as it is. `cracks` does so where that
            one is at most `reach` away.
        reach: in pixels.

    Returns:
        A new video on the same device, or the same one for `black`. Of seen pixels equally near
        any one is taken, always the same one on the same kind of device.

    Raises:
        ValueError: unknown `holes`, a negative reach, or shapes or devices that differ.
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
    """Refuse what is none of `HOLES`.

    Raises:
        ValueError: an unknown one.
    """
    if holes not in HOLES:
        raise ValueError(f"holes is one of {', '.join(HOLES)}; met {holes!r}")

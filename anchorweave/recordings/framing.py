"""Resizes images, depth and cameras together, so that they stay consistent."""

from __future__ import annotations

from dataclasses import replace

from torch.nn.functional import interpolate

from anchorweave.clip import Clip


def reframed(clip: Clip, size: tuple[int, int]) -> Clip:
    """`clip` centre-cropped to the aspect of `size` (height, width), and resized to it.

    Colours are averaged over their source pixels; if any of these is not static, neither is the
    result. Depth takes the nearest pixel: averaging across an edge would create a depth where there
    is no surface.
    """
    top, left, window = _centre_window(clip.cameras.size, size)
    rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
    frames = clip.frames[..., rows, columns]
    if window != size:
        frames = interpolate(frames, size, mode="bilinear", antialias=True).clamp(0, 1)
    static = clip.static
    if static is not None:
        static = static[:, rows, columns]
        if window != size:
            share = interpolate(static[:, None].float(), size, mode="bilinear", antialias=True)
            # All source pixels, up to rounding.
            static = share[:, 0] > 0.999
    return replace(
        clip,
        frames=frames,
        depth=_nearest(clip.depth[:, rows, columns], size),
        cameras=clip.cameras.cropped(top, left, window).resized(size),
        static=static,
        # Sparse points on a grid do not survive resizing; `Recording.clip` projects them again.
        sparse=None,
    )


def colours_as_seen_by_depth(clip: Clip, focal: float) -> Clip:
    """Crops the colours of a wider camera to the view of the depth camera beside it.

    The centre of the image, as wide as the depth camera's view, at full size. For recordings whose
    images were not registered; the cameras of `clip` are the depth camera's.

    Args:
        clip: colours and depth of the same size, from cameras at the same place.
        focal: focal length of the colour camera relative to the depth camera's, in (0, 1].
    """
    H, W = clip.cameras.size
    height, width = round(H * focal), round(W * focal)
    top, left = (H - height) // 2, (W - width) // 2
    middle = clip.frames[..., top : top + height, left : left + width]
    frames = interpolate(middle, (H, W), mode="bilinear", align_corners=False)
    return replace(clip, frames=frames)


def _nearest(values, size):
    # "nearest-exact" compares pixel centres; "nearest" is half a pixel off.
    return interpolate(values[:, None], size, mode="nearest-exact")[:, 0]


def _centre_window(native: tuple[int, int], size: tuple[int, int]):
    """Top, left and size of the largest centred window of `native` with the aspect of `size`."""
    (H, W), (h, w) = native, size
    window = (H, round(H * w / h)) if W * h >= H * w else (round(W * h / w), W)
    return (H - window[0]) // 2, (W - window[1]) // 2, window

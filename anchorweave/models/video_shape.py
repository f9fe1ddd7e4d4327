"""The shape of the video that a model makes, and the one that it was trained at."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from anchorweave.anchors import Retrieved
from anchorweave.models.backbones import codec_of, family_of


def video_shape(
    transformer: nn.Module,
    vae: nn.Module,
    retrieved: Sequence[Retrieved] | None,
    frames: int | None,
    height: int | None,
    width: int | None,
) -> tuple[int, int, int]:
    """(T, H, W) of the video to make, after a check that all sources of it agree.

    Args:
        transformer: the backbone; its own length and size are the default.
        vae: the autoencoder.
        retrieved: of each video; the shape of the first takes precedence over the backbone's own.
        frames: T, if requested.
        height: likewise, in pixels.
        width: likewise.

    Raises:
        ValueError: something retrieved of another shape, a shape that the networks do not take,
            tiles that do not divide, or a backbone that learned its positions at another size.
    """
    sizes = family_of(transformer).sizes(transformer)
    default = (sizes.frames, *own_size(transformer, vae))
    if retrieved:
        T, _, H, W = retrieved[0].anchors.video.shape[1:]
        default = (T, H, W)
    given = (frames, height, width)
    asked = tuple(own if one is None else one for one, own in zip(given, default, strict=True))
    for i, one in enumerate(retrieved or ()):
        T, _, H, W = one.anchors.video.shape[1:]
        if (T, H, W) != asked or len(one.target2first) != T:
            raise ValueError(
                f"retrieved[{i}] shows {T} frames of {H}x{W} (height x width) along "
                f"{len(one.target2first)} cameras, but a video of {asked[0]} frames of "
                f"{asked[1]}x{asked[2]} is to be made; retrieve for the cameras of that video"
            )
    codec = codec_of(vae)
    codec.shape(asked[0], asked[1:], sizes.patch_size)
    codec.check_tiles(asked[1:])
    own = own_size(transformer, vae)
    if sizes.learned_positions and asked[1:] != own:
        raise ValueError(
            f"this backbone learned its positions at {own[0]}x{own[1]} (height x width) and "
            f"makes no other size, met {asked[1]}x{asked[2]}"
        )
    return asked


def own_size(transformer: nn.Module, vae: nn.Module) -> tuple[int, int]:
    """(height, width) in pixels that a backbone was made for."""
    scale = codec_of(vae).in_space
    height, width = family_of(transformer).sizes(transformer).latent_size
    return height * scale, width * scale


def other_size(own: tuple[int, int], asked: tuple[int, int]) -> str | None:
    """A warning about weights that are used at another (height, width) than their own.

    Returns:
        None where they are used at their own.
    """
    if own == asked:
        return None
    return (
        f"these weights were made for {own[0]}x{own[1]} (height x width) and are used at "
        f"{asked[0]}x{asked[1]}, which they were not trained at: expect worse pictures than at "
        "their own size"
    )

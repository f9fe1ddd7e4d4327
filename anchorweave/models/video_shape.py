"""The shape of the video to generate, and the size a model was trained at."""

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
    """(T, H, W) of the video to generate, after checking that all its sources agree.

    Args:
        transformer: the backbone; its own length and size are the default.
        vae: the autoencoder.
        retrieved: results of each video; the shape of the first takes precedence over the
            backbone's.
        frames: T, if requested.
        height: likewise, in pixels.
        width: likewise.

    Raises:
        ValueError: a retrieval result of another shape, an unsupported shape, tiles that do not
            divide, or a backbone whose positions were learned at another size.
    """
    sizes = family_of(transformer).sizes(transformer)
    default = (sizes.frames, *own_size(transformer, vae))
    if retrieved:
        T, _, H, W = retrieved[0].anchors.video.shape[1:]
        default = (T, H, W)
    requested = (frames, height, width)
    pairs = zip(requested, default, strict=True)
    asked = tuple(own if value is None else value for value, own in pairs)
    for i, result in enumerate(retrieved or ()):
        T, _, H, W = result.anchors.video.shape[1:]
        if (T, H, W) != asked or len(result.target2first) != T:
            raise ValueError(
                f"retrieved[{i}] has {T} frames of {H}x{W} (height x width) for "
                f"{len(result.target2first)} cameras, but the requested video has {asked[0]} "
                f"frames of {asked[1]}x{asked[2]}; retrieve for the cameras of that video"
            )
    codec = codec_of(vae)
    codec.shape(asked[0], asked[1:], sizes.patch_size)
    codec.check_tiles(asked[1:])
    own = own_size(transformer, vae)
    if sizes.learned_positions and asked[1:] != own:
        raise ValueError(
            f"this backbone learned its positions at {own[0]}x{own[1]} (height x width) and "
            f"does not support another size, got {asked[1]}x{asked[2]}"
        )
    return asked


def own_size(transformer: nn.Module, vae: nn.Module) -> tuple[int, int]:
    """(height, width) in pixels that a backbone was trained at."""
    scale = codec_of(vae).in_space
    height, width = family_of(transformer).sizes(transformer).latent_size
    return height * scale, width * scale


def other_size(own: tuple[int, int], asked: tuple[int, int]) -> str | None:
    """A warning about weights that are used at another (height, width) than in training.

    Returns:
        None if they are used at their own size.
    """
    if own == asked:
        return None
    return (
        f"these weights were made for {own[0]}x{own[1]} (height x width) and are used at "
        f"{asked[0]}x{asked[1]}, which they were not trained at: expect worse quality than at "
        "their own size"
    )

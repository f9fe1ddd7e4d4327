"""What was retrieved as latents: anchors and references, encoded and padded to a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from anchorweave.anchors import (
    AnchorLatents,
    Anchors,
    PrecedingLatents,
    ReferenceLatents,
    Retrieved,
)
from anchorweave.holes import fill_holes
from anchorweave.models.codec.base import VideoCodec
from anchorweave.models.weaving.visible_tokens import coverage, seen_by
from anchorweave.progress import progress


def encode_retrieved(
    codec: VideoCodec,
    retrieved: Sequence[Retrieved],
    patch_size: int,
    first_frame: str = "seen",
    device: torch.device | None = None,
    holes: str = "black",
) -> AnchorLatents:
    """What was retrieved for a batch of B videos, as the controller takes it.

    Slots are padded to the sample that has most (and attended like any other, unless the controller
    leaves invisible tokens out); the VAE takes one anchor at a time.

    Args:
        codec: of the videos.
        retrieved: B of them, same T and size, lengths in units of the scene (`Retrieved.in_unit`).
        patch_size: of the backbone, in latent pixels.
        first_frame: which of its tokens count as seen, see `visible_tokens`.
        device: as in `VideoCodec.encode`.
        holes: what the VAE sees where an anchor does not, see `fill_holes`; as the controller was
            trained.

    Raises:
        ValueError: none given, videos of different T or size, lengths in no unit of the scene, a
            shape that does not fit, or unknown `holes`.
    """
    _check_units(retrieved)
    shapes = {tuple(one.anchors.video.shape[1:]) for one in retrieved}
    if len(shapes) != 1:
        raise ValueError(
            "retrieved anchors of one batch must share T x 3 x H x W, "
            f"met {sorted(shapes) or 'no samples at all'}"
        )
    (shape,) = shapes
    codec.shape(shape[0], shape[2:], patch_size)
    poses = torch.stack([one.target2first for one in retrieved])
    return _encode_batch(
        codec, [one.anchors for one in retrieved], poses, patch_size, first_frame, device, holes
    )


def encode_preceding(
    codec: VideoCodec,
    retrieved: Sequence[Retrieved],
    patch_size: int,
    device: torch.device | None = None,
    holes: str = "black",
) -> PrecedingLatents | None:
    """The frames ahead of each of B targets, each a video of its own; None where none are given.

    Args and errors as of `encode_retrieved`, and:

    Raises:
        ValueError: not as many frames ahead of each target.
    """
    _check_units(retrieved)
    given = [one.preceding for one in retrieved if one.preceding is not None]
    if not given:
        return None
    counts = [0 if one.preceding is None else len(one.preceding.frames) for one in retrieved]
    if len(set(counts)) != 1:
        raise ValueError(
            f"{counts} preceding frames are given ahead of the videos of one batch, which take as "
            "many each; generate those with fewer in a batch of their own"
        )
    codec.shape(counts[0], tuple(given[0].frames.shape[2:]), patch_size)
    latents = [codec.encode(one.frames[None], device) for one in given]
    poses = torch.stack([one.preceding2first for one in given])
    anchors = [one.anchors for one in given]
    slots = max(len(one.anchors) for one in retrieved)
    of_anchors = _encode_batch(codec, anchors, poses, patch_size, "seen", device, holes, slots)
    return PrecedingLatents(torch.cat(latents), of_anchors)


def _encode_batch(
    codec: VideoCodec,
    anchors: Sequence[Anchors],
    poses: Tensor,
    patch_size: int,
    first_frame: str,
    device: torch.device | None,
    holes: str,
    slots: int | None = None,
) -> AnchorLatents:
    """Anchors of B videos of one shape, whose cameras are at `poses` [B, T, 4, 4]."""
    device = device or codec.vae.device
    if slots is None:
        slots = max(len(one) for one in anchors)
    filled = [one.padded(slots) for one in anchors]
    share = coverage(
        torch.stack([one.visible for one in filled]).to(device),
        spatial=codec.in_space * patch_size,
        temporal=codec.in_time,
        first_frame=first_frame,
    )
    return AnchorLatents(
        latents=_encode_anchors(codec, anchors, slots, device, holes),
        visible_tokens=seen_by(share),
        target2source=torch.stack([one.target2source for one in filled]).to(device),
        target2first=poses.to(device),
        coverage=share,
    )


def encode_references(
    codec: VideoCodec,
    retrieved: Sequence[Retrieved],
    device: torch.device | None = None,
) -> ReferenceLatents:
    """The references of what was retrieved for a batch of B videos, each frame encoded alone.

    Args:
        codec: of the videos.
        retrieved: B of them; samples with fewer references are padded.
        device: as in `VideoCodec.encode`.

    Raises:
        ValueError: lengths in no unit of the scene.
    """
    _check_units(retrieved)
    device = device or codec.vae.device
    _, H, W = retrieved[0].references.frames.shape[1:]
    _, h, w = codec.shape(1, (H, W))
    B, R = len(retrieved), max(len(one.references) for one in retrieved)
    latents = torch.zeros(B, R, codec.channels, h, w, device=device, dtype=codec.vae.dtype)
    poses = torch.eye(4).repeat(B, R, 1, 1)
    present = torch.zeros(B, R, dtype=torch.bool)
    for b, one in enumerate(retrieved):
        count = len(one.references)
        poses[b, :count], present[b, :count] = one.references.reference2first, True
        for r, frame in enumerate(one.references.frames):
            latents[b, r] = codec.encode(frame[None, None], device)[0, 0]
    target2first = torch.stack([one.target2first for one in retrieved])
    return ReferenceLatents(latents, present.to(device), poses.to(device), target2first.to(device))


def _check_units(retrieved: Sequence[Retrieved]) -> None:
    for i, one in enumerate(retrieved):
        if one.unit is None:
            raise ValueError(
                f"retrieved[{i}] has the recording's own lengths, which mean nothing to networks "
                "that were trained in units of the scene; give "
                "retrieved.in_unit(scene_unit(depth)), with the depth of the first frame "
                "(anchorweave.world)"
            )


def _encode_anchors(
    codec: VideoCodec,
    batch: Sequence[Anchors],
    slots: int,
    device: torch.device,
    holes: str,
) -> Tensor:
    """Latents [B, N, t, C, h, w] of B times N <= slots videos, the slots left being black.

    One at a time, because the VAE's peak memory grows with its batch.
    """
    T, _, H, W = batch[0].video.shape[1:]
    t, h, w = codec.shape(T, (H, W))
    shape = (len(batch), slots, t, codec.channels, h, w)
    latents = torch.empty(shape, device=device, dtype=codec.vae.dtype)
    shown = {
        (b, n): (video, visible)
        for b, anchors in enumerate(batch)
        for n, (video, visible) in enumerate(zip(anchors.video, anchors.visible, strict=True))
        if video.any()
    }
    # An anchor that shows nothing is the video that pads: encoded once for all.
    if len(shown) < len(batch) * slots:
        latents[:] = codec.encode(torch.zeros(1, T, 3, H, W), device)
    for place, seen in progress(shown.items(), "encoding anchors", len(shown)):
        latents[place] = codec.encode(fill_holes(*seen, holes)[None], device)[0]
    return latents

"""Encodes retrieved anchors and references to latents and pads them to a batch."""

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
    """Encodes the retrieved anchors of B videos as input to the controller.

    Slots are padded to the largest number in the batch (padding takes part in attention unless the
    controller drops invisible tokens); the VAE encodes one anchor at a time.

    Args:
        codec: the video codec.
        retrieved: B results with the same T and size, lengths in scene units (`Retrieved.in_unit`).
        patch_size: the backbone's patch size, in latent pixels.
        first_frame: which of its tokens count as visible, see `visible_tokens`.
        device: as in `VideoCodec.encode`.
        holes: how holes of anchors are filled before encoding, see `fill_holes`; as the controller
            was trained.

    Raises:
        ValueError: an empty batch, videos of different T or size, lengths not in scene units, an
            unsupported shape, or unknown `holes`.
    """
    _check_units(retrieved)
    shapes = {tuple(result.anchors.video.shape[1:]) for result in retrieved}
    if len(shapes) != 1:
        raise ValueError(
            "retrieved anchors of result batch must share T x 3 x H x W, "
            f"got {sorted(shapes) or 'no samples at all'}"
        )
    (shape,) = shapes
    codec.shape(shape[0], shape[2:], patch_size)
    poses = torch.stack([result.target2first for result in retrieved])
    return _encode_batch(
        codec,
        [result.anchors for result in retrieved],
        poses,
        patch_size,
        first_frame,
        device,
        holes,
    )


def encode_preceding(
    codec: VideoCodec,
    retrieved: Sequence[Retrieved],
    patch_size: int,
    device: torch.device | None = None,
    holes: str = "black",
) -> PrecedingLatents | None:
    """Encodes the frames before each of B targets as a separate video; None if there are none.

    Args and errors as in `encode_retrieved`, and:

    Raises:
        ValueError: different numbers of preceding frames.
    """
    _check_units(retrieved)
    clips = [result.preceding for result in retrieved if result.preceding is not None]
    if not clips:
        return None
    counts = [
        0 if result.preceding is None else len(result.preceding.frames) for result in retrieved
    ]
    if len(set(counts)) != 1:
        raise ValueError(
            f"the videos of one batch have {counts} preceding frames, but need the same number; "
            "generate those with fewer in a separate batch"
        )
    codec.shape(counts[0], tuple(clips[0].frames.shape[2:]), patch_size)
    latents = [codec.encode(clip.frames[None], device) for clip in clips]
    poses = torch.stack([clip.preceding2first for clip in clips])
    anchors = [clip.anchors for clip in clips]
    slots = max(len(result.anchors) for result in retrieved)
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
    """Encodes the anchors of B videos of the same shape, with cameras `poses` [B, T, 4, 4]."""
    device = device or codec.vae.device
    if slots is None:
        slots = max(len(sample) for sample in anchors)
    filled = [sample.padded(slots) for sample in anchors]
    share = coverage(
        torch.stack([sample.visible for sample in filled]).to(device),
        spatial=codec.in_space * patch_size,
        temporal=codec.in_time,
        first_frame=first_frame,
    )
    return AnchorLatents(
        latents=_encode_anchors(codec, anchors, slots, device, holes),
        visible_tokens=seen_by(share),
        target2source=torch.stack([sample.target2source for sample in filled]).to(device),
        target2first=poses.to(device),
        coverage=share,
    )


def encode_references(
    codec: VideoCodec,
    retrieved: Sequence[Retrieved],
    device: torch.device | None = None,
) -> ReferenceLatents:
    """Encodes the references of a batch of B videos, each frame alone.

    Args:
        codec: the video codec.
        retrieved: B results; samples with fewer references are padded.
        device: as in `VideoCodec.encode`.

    Raises:
        ValueError: lengths not in scene units.
    """
    _check_units(retrieved)
    device = device or codec.vae.device
    _, H, W = retrieved[0].references.frames.shape[1:]
    _, h, w = codec.shape(1, (H, W))
    B, R = len(retrieved), max(len(result.references) for result in retrieved)
    latents = torch.zeros(B, R, codec.channels, h, w, device=device, dtype=codec.vae.dtype)
    poses = torch.eye(4).repeat(B, R, 1, 1)
    present = torch.zeros(B, R, dtype=torch.bool)
    for b, result in enumerate(retrieved):
        count = len(result.references)
        poses[b, :count], present[b, :count] = result.references.reference2first, True
        for r, frame in enumerate(result.references.frames):
            latents[b, r] = codec.encode(frame[None, None], device)[0, 0]
    target2first = torch.stack([result.target2first for result in retrieved])
    return ReferenceLatents(latents, present.to(device), poses.to(device), target2first.to(device))


def _check_units(retrieved: Sequence[Retrieved]) -> None:
    for i, result in enumerate(retrieved):
        if result.unit is None:
            raise ValueError(
                f"retrieved[{i}] has lengths in the recording's unit, but the networks were "
                "trained in scene units; pass "
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
    """Latents [B, N, t, C, h, w] of B times N <= slots videos; remaining slots are black.

    Encoded one at a time, because the VAE's peak memory grows with its batch.
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
    # Anchors without any visible pixel equal the padding, which is encoded only once.
    if len(shown) < len(batch) * slots:
        latents[:] = codec.encode(torch.zeros(1, T, 3, H, W), device)
    for place, seen in progress(shown.items(), "encoding anchors", len(shown)):
        latents[place] = codec.encode(fill_holes(*seen, holes)[None], device)[0]
    return latents

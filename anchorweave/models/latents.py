"""Between video in [0, 1] and the VAE's scaled latents; [-1, 1] exists in this file only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKLCogVideoX
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from anchorweave.anchors import AnchorLatents, Anchors, ReferenceLatents, Retrieved
from anchorweave.holes import fill_holes
from anchorweave.models.pixels import checked_pixels
from anchorweave.models.tiling import check_tiles, spatial_compression
from anchorweave.models.visible_tokens import visible_tokens
from anchorweave.progress import slowly


def latent_shape(
    vae: AutoencoderKLCogVideoX, frames: int, size: tuple[int, int], patch_size: int
) -> tuple[int, int, int]:
    """Latent (t, h, w) of a video of `frames` T and `size` (height, width) in pixels.

    Args:
        vae: its configuration gives the compression in time (4) and space (8; 4 with three levels).
        frames: T = 4k + 1, because the first frame is compressed alone.
        size: both divisible by the spatial compression times `patch_size` (16, or 8).
        patch_size: of the backbone, in latent pixels.

    Raises:
        ValueError: frames or size that do not fit, with the nearest values that do.
    """
    in_time, in_space = vae.config.temporal_compression_ratio, spatial_compression(vae)
    if frames < 1 or (frames - 1) % in_time:
        below = max(frames - 1, 0) // in_time * in_time + 1
        raise ValueError(
            f"{frames} frames do not fit the VAE, which takes 1 + {in_time}k of them; "
            f"the nearest lengths are {below} and {below + in_time}"
        )
    step = in_space * patch_size
    if any(side < step or side % step for side in size):
        nearest = tuple(max(step, round(side / step) * step) for side in size)
        raise ValueError(
            f"a size of {size[0]}x{size[1]} (height x width) does not fit the networks: both sides "
            f"must be divisible by {step}; the nearest such size is {nearest[0]}x{nearest[1]}"
        )
    return (frames - 1) // in_time + 1, size[0] // in_space, size[1] // in_space


def encode_video(
    vae: AutoencoderKLCogVideoX,
    video: Float[Tensor, "B T 3 H W"],
    device: torch.device | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B t C h w"]:
    """Scaled latents [B, t, C, h, w] of videos, in the VAE's dtype.

    Args:
        vae: a CogVideoX autoencoder; its slicing and tiling switches are honoured.
        video: colours [B, T, 3, H, W] in [0, 1].
        device: where the VAE computes; None = where its weights lie (offloaded ones lie elsewhere).
        generator: draws from the posterior; None takes its mode.

    Raises:
        ValueError: T is not 4k + 1, a side that the spatial compression does not divide, tiles
            that do not divide (`check_tiles`), or values outside [0, 1].
    """
    return _encode(vae, video, device, generator) * vae.config.scaling_factor


def encode_first_frame(
    vae: AutoencoderKLCogVideoX,
    image: Float[Tensor, "B 3 H W"],
    frames: int,
    device: torch.device | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B t C h w"]:
    """The image condition of an image-to-video backbone: one latent frame, then zeros.

    Args:
        vae: a CogVideoX autoencoder. With `invert_scale_latents` the backbone was trained on image
            latents divided by the scaling factor, where video latents are multiplied.
        image: first frames [B, 3, H, W] in [0, 1].
        frames: T of the video to generate.
        device: as in `encode_video`.
        generator: as in `encode_video`; diffusers draws here.

    Returns:
        [B, t, C, h, w], to be joined to the noisy latents on channels.
    """
    t, _, _ = latent_shape(vae, frames, tuple(image.shape[-2:]), patch_size=1)
    scale = vae.config.scaling_factor
    first = _encode(vae, image[:, None], device, generator)
    first = first / scale if vae.config.invert_scale_latents else first * scale
    return torch.cat([first, first.new_zeros(first[:, :1].shape).repeat(1, t - 1, 1, 1, 1)], dim=1)


def decode_video(
    vae: AutoencoderKLCogVideoX,
    latents: Float[Tensor, "B t C h w"],
    device: torch.device | None = None,
) -> Float[Tensor, "B T 3 H W"]:
    """Videos [B, T, 3, H, W] in [0, 1] from scaled latents [B, t, C, h, w], T = 4 (t - 1) + 1.

    Raises:
        ValueError: tiles that do not divide (`check_tiles`).
    """
    scale = spatial_compression(vae)
    check_tiles(vae, (latents.shape[-2] * scale, latents.shape[-1] * scale))
    frames = (latents.shape[1] - 1) * vae.config.temporal_compression_ratio + 1
    latents = with_odd_frames(latents.to(device or vae.device, vae.dtype))
    signed = vae.decode(rearrange(latents / vae.config.scaling_factor, "b t c h w -> b c t h w"))
    return (rearrange(signed.sample, "b c t h w -> b t c h w")[:, :frames] / 2 + 0.5).clamp(0, 1)


def with_odd_frames(latents: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B t_odd C h w"]:
    """The latents with their last frame repeated where t is even.

    The decoder gives the first latent frame one video frame only when it is handed an odd number;
    an even number comes out as 4t frames. Callers drop the frames of the repeated one.
    """
    return latents if latents.shape[1] % 2 else torch.cat([latents, latents[:, -1:]], dim=1)


def encode_retrieved(
    vae: AutoencoderKLCogVideoX,
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
        vae: a CogVideoX autoencoder.
        retrieved: B of them, same T and size, lengths in units of the scene (`Retrieved.in_unit`).
        patch_size: of the backbone, in latent pixels.
        first_frame: which of its tokens count as seen, see `visible_tokens`.
        device: as in `encode_video`.
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
    latent_shape(vae, shape[0], shape[2:], patch_size)
    device = device or vae.device
    slots = max(len(one.anchors) for one in retrieved)
    return AnchorLatents(
        latents=_encode_anchors(vae, [one.anchors for one in retrieved], slots, device, holes),
        visible_tokens=visible_tokens(
            torch.stack([one.anchors.padded(slots).visible for one in retrieved]).to(device),
            spatial=spatial_compression(vae) * patch_size,
            temporal=vae.config.temporal_compression_ratio,
            first_frame=first_frame,
        ),
        target2source=torch.stack(
            [one.anchors.padded(slots).target2source for one in retrieved]
        ).to(device),
        target2first=torch.stack([one.target2first for one in retrieved]).to(device),
    )


def encode_references(
    vae: AutoencoderKLCogVideoX,
    retrieved: Sequence[Retrieved],
    device: torch.device | None = None,
) -> ReferenceLatents:
    """The references of what was retrieved for a batch of B videos, each frame encoded alone.

    Args:
        vae: a CogVideoX autoencoder.
        retrieved: B of them; samples with fewer references are padded.
        device: as in `encode_video`.

    Raises:
        ValueError: lengths in no unit of the scene.
    """
    _check_units(retrieved)
    device = device or vae.device
    _, H, W = retrieved[0].references.frames.shape[1:]
    _, h, w = latent_shape(vae, 1, (H, W), patch_size=1)
    B, R = len(retrieved), max(len(one.references) for one in retrieved)
    latents = torch.zeros(B, R, vae.config.latent_channels, h, w, device=device, dtype=vae.dtype)
    poses = torch.eye(4).repeat(B, R, 1, 1)
    present = torch.zeros(B, R, dtype=torch.bool)
    for b, one in enumerate(retrieved):
        there = len(one.references)
        poses[b, :there], present[b, :there] = one.references.reference2first, True
        for r, frame in enumerate(one.references.frames):
            latents[b, r] = encode_video(vae, frame[None, None], device)[0, 0]
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
    vae: AutoencoderKLCogVideoX,
    batch: Sequence[Anchors],
    slots: int,
    device: torch.device,
    holes: str,
) -> Tensor:
    """Latents [B, N, t, C, h, w] of B times N <= slots videos, the slots left being black.

    One at a time, because the VAE's peak memory grows with its batch.
    """
    T, _, H, W = batch[0].video.shape[1:]
    t, h, w = latent_shape(vae, T, (H, W), patch_size=1)
    shape = (len(batch), slots, t, vae.config.latent_channels, h, w)
    latents = torch.empty(shape, device=device, dtype=vae.dtype)
    shown = {
        (b, n): (video, visible)
        for b, anchors in enumerate(batch)
        for n, (video, visible) in enumerate(zip(anchors.video, anchors.visible, strict=True))
        if video.any()
    }
    # An anchor that shows nothing is the video that pads: encoded once for all.
    if len(shown) < len(batch) * slots:
        latents[:] = encode_video(vae, torch.zeros(1, T, 3, H, W), device)
    for place, seen in slowly(shown.items(), "encoding anchors", len(shown)):
        latents[place] = encode_video(vae, fill_holes(*seen, holes)[None], device)[0]
    return latents


def _encode(
    vae: AutoencoderKLCogVideoX,
    video: Tensor,
    device: torch.device | None,
    generator: torch.Generator | None,
) -> Tensor:
    size = (video.shape[-2], video.shape[-1])
    latent_shape(vae, video.shape[1], size, patch_size=1)
    check_tiles(vae, size)
    signed = checked_pixels(video, "a video to encode").to(device or vae.device, vae.dtype) * 2 - 1
    posterior = vae.encode(rearrange(signed, "b t c h w -> b c t h w")).latent_dist
    latents = posterior.mode() if generator is None else posterior.sample(generator)
    return rearrange(latents, "b c t h w -> b t c h w")

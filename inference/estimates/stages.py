"""What each stage of sampling holds beside weights, and what it computes: by running it on meta."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from anchorweave.anchors import AnchorLatents, PrecedingLatents, ReferenceLatents
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.estimates.live_bytes import FusedAttention, LiveBytes, StatedNumbers
from inference.estimates.networks import Networks, tensors_of


@dataclass(frozen=True)
class Taken:
    """What a stage takes.

    Args:
        held: bytes at its height, beside the weights.
        operations: of products, convolutions and attention; two for a multiplication and addition.
    """

    held: int
    operations: int


@dataclass(frozen=True)
class Video:
    """What is sampled.

    Args:
        frames: T.
        size: (height, width).
        latents: (t, h, w).
        anchors: N.
        references: R.
        preceding: frames P ahead of it, which the reference network joins to it; 0 = none.
    """

    frames: int
    size: tuple[int, int]
    latents: tuple[int, int, int]
    anchors: int
    references: int
    preceding: int = 0


def reading_text(networks: Networks, tokens: int) -> Taken:
    """The text encoder, one prompt of so many tokens."""
    encoder = networks.parts["text_encoder"]
    words = torch.zeros(1, tokens, dtype=torch.long, device="meta")
    return taken(lambda: encoder(words)[0], [encoder])


def denoising(
    networks: Networks,
    video: Video,
    batch: int,
    visible: float | None,
    *,
    control_every: int = 1,
    fused: bool = True,
) -> Taken:
    """One call of backbone and controller.

    Args:
        networks: all.
        video: what is sampled.
        batch: samples of the call; two where guidance is one call.
        visible: share of the anchors' tokens that a pixel supports, where only those attend; None
            = the backbone alone.
        control_every: whose features are kept, see `SamplingConfig`.
        fused: whether attention is one kernel (`attention_backend=math` is not).
    """
    t, h, w = video.latents
    backbone, family = networks.parts["transformer"], networks.family
    controller = networks.parts["controller"] if visible is not None else None
    references = networks.parts.get("references")
    sizes = family.sizes(backbone)
    denoiser = Denoiser(backbone, controller, references).eval()
    C, N, T, R = sizes.latent_channels, video.anchors, video.frames, video.references
    patch = sizes.patch_size
    tokens = t * (h // patch) * (w // patch)

    def like(*shape: int, dtype: torch.dtype = networks.dtype) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device="meta")

    def anchors_of(frames: int, count: int) -> AnchorLatents:
        """Of `frames` video frames and `count` latent ones."""
        grid = (count, h // patch, w // patch)
        return AnchorLatents(
            like(1, N, count, C, h, w),
            like(1, N, *grid, dtype=torch.bool),
            like(1, N, frames, 4, 4, dtype=torch.float32),
            like(1, frames, 4, 4, dtype=torch.float32),
            like(1, N, *grid, dtype=torch.float32),
        )

    anchors, remembered, preceding = anchors_of(T, t), None, None
    if references is not None:
        seen_from = like(1, R, 4, 4, dtype=torch.float32)
        present = like(1, R, dtype=torch.bool)
        remembered = ReferenceLatents(like(1, R, C, h, w), present, seen_from, anchors.target2first)
        if P := video.preceding:
            p = (P - 1) // sizes.temporal_compression + 1
            preceding = PrecedingLatents(like(1, p, C, h, w), anchors_of(P, p))
            tokens += p * (h // patch) * (w // patch)
    latents, text = like(batch, t, C, h, w), like(batch, sizes.text_tokens, sizes.text_dim)
    timestep = torch.full((batch,), 500, device="meta")
    table = family.positions(backbone, video.latents)
    table = None if table is None else tuple(part.to("meta") for part in table)
    joint = controller is None or controller.config.attention == "joint"
    counted = round((visible or 0) * tokens * (N if joint else 1))

    # In the second, what is made once for all steps is there.
    times = 1 if controller is None else 2

    def calls() -> None:
        given = {"references": remembered, "preceding": preceding}
        with denoiser.weaving(anchors, control_every=control_every, **given):
            for _ in range(times):
                family.predict(backbone, latents, latents, text, timestep, table)

    all_calls = taken(calls, [denoiser], counted, fused)
    return Taken(all_calls.held, all_calls.operations // times)


def taken(
    work: Callable[[], object], modules: list[nn.Module], counted: int = 0, fused: bool = True
) -> Taken:
    """What a call takes beside the weights of the modules in it.

    Args:
        work: the call, on the meta device.
        modules: see above.
        counted: what the host reads where it lists numbers: visible tokens.
        fused: whether attention is one kernel.
    """
    live = LiveBytes(tensor for module in modules for tensor in tensors_of(module))
    weights, operations = live.now, FlopCounterMode(display=False)
    with ExitStack() as inside:
        inside.enter_context(torch.no_grad())
        inside.enter_context(operations)
        inside.enter_context(live)
        inside.enter_context(StatedNumbers(counted, itertools.count().__next__))
        if fused:
            inside.enter_context(FusedAttention())
        work()
    return Taken(live.peak - weights, operations.get_total_flops())

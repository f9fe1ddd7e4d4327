"""What `full_size` measures: networks with random weights, and calls of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from anchorweave.anchors import AnchorLatents
from anchorweave.geometry.cameras import Cameras
from anchorweave.models.backbones import Family, codec_of, families
from anchorweave.models.checkpointing import kept_parts, recompute
from anchorweave.models.compilation import compile_blocks
from anchorweave.models.controller import Constants, WeavingController
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.ema import running_average
from anchorweave.models.precision import without_autocast
from anchorweave.models.small.tiny_models import TINY
from anchorweave.rendering.point_splat import splat_points
from tests.models.small import small_backbone

Work = Callable[[], Any]
Prepare = Callable[["Sizes"], tuple[Work, dict[str, Any]]]
# Of four anchors: one sees nearly all, others a part; 45 % and 25 % of the tokens together.
VISIBLE = {1.0: (1.0,) * 4, 0.45: (0.95, 0.5, 0.25, 0.1), 0.25: (0.7, 0.2, 0.1, 0.0)}
# How a batch's samples may differ.
UNEQUAL = (0.45, 0.25, 1.0, 0.3)


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Args:
        family: of the backbone.
        device: where.
        dtype: of the networks.
        config: of the backbone; None = a small one.
        latents: (t, h, w).
        channels: of latents.
        text: (tokens, width) of a prompt.
        heads: of the controller, and layers; None = the family's share.
        splat: points, views, height and width.
    """

    family: Family
    device: torch.device
    dtype: torch.dtype
    config: dict[str, Any] | None
    latents: tuple[int, int, int]
    channels: int
    text: tuple[int, int]
    splat: tuple[int, int, int, int]

    @property
    def facts(self) -> dict[str, Any]:
        """For the first line."""
        return {
            "latents": list(self.latents),
            "text_tokens": self.text[0],
            "dtype": str(self.dtype),
        }

    @property
    def pixels(self) -> int:
        """Frames T of the video."""
        return 4 * (self.latents[0] - 1) + 1


def sizes_of(family: str, size: str) -> Sizes:
    """Full size on the GPU, or a toy's wherever."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = families()[family]
    if size == "toy":
        # bfloat16 is emulated on most CPUs.
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        return Sizes(kind, device, dtype, None, (3, 4, 6), 4, (5, 12), (500, 3, 12, 18))
    latents = {"cogvideox": (13, 60, 90), "wan": (21, 30, 52)}[family]
    config = dict(kind.published[1])
    made = kind.sizes_of(config)
    text = (made.text_tokens, made.text_dim)
    splat = (270_000, 49, 480, 720)
    return Sizes(kind, device, torch.bfloat16, config, latents, made.latent_channels, text, splat)


def variants_of(family: str) -> list[tuple[str, Prepare]]:
    """Names and makers, the most important first."""
    found: list[tuple[str, Prepare]] = [
        ("forward visible 45%", partial(forward, share=0.45)),
        ("train visible 45%", partial(training, share=0.45)),
        (
            "train visible 45%, controller's attention kept",
            partial(training, share=0.45, kept="attention_of_controller"),
        ),
        ("train visible 45%, attention kept", partial(training, share=0.45, kept="attention")),
        ("forward visible 45%, compiled", partial(forward, share=0.45, compiled=True)),
        ("sampling step visible 45%", partial(forward, share=0.45, sampling=True)),
        ("forward all tokens", partial(forward, share=1.0)),
        ("backbone alone", partial(forward, share=None)),
        ("forward visible 25%", partial(forward, share=0.25)),
        ("forward guided visible 45%", partial(forward, share=0.45, guided=True)),
        (
            "sampling step guided visible 45%, compiled",
            partial(forward, share=0.45, guided=True, sampling=True, compiled=True),
        ),
        ("train visible 45%, compiled", partial(training, share=0.45, compiled=True)),
        ("train all tokens", partial(training, share=1.0)),
        ("controller alone visible 45%", partial(controller_alone, share=0.45)),
        ("controller alone all tokens", partial(controller_alone, share=1.0)),
        ("controller alone, 2 unequal rows", partial(controller_alone, share=None, rows=2)),
        ("controller alone, 4 unequal rows", partial(controller_alone, share=None, rows=4)),
        ("train visible 45%, nothing recomputed", partial(training, share=0.45, kept=None)),
        (
            "sampling step visible 45%, controller every 2nd",
            partial(forward, share=0.45, sampling=True, every=2),
        ),
        ("splat", splat),
    ]
    if family == "cogvideox":
        found.append(
            ("backbone alone, fused projections", partial(forward, share=None, fused=True))
        )
        found += [
            (f"vae {what}{', tiled' * tiled}", partial(vae, what=what, tiled=tiled))
            for tiled in (True, False)
            for what in ("decode", "encode")
        ]
    for where in ("backbone", "controller"):
        for backend in ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"):
            found.append(
                (
                    f"attention of the {where} by {backend}",
                    partial(attention, where=where, backend=backend),
                )
            )
    return found


@contextmanager
def made_on(sizes: Sizes, dtype: torch.dtype) -> Iterator[None]:
    """Inside, weights are made where and in what they are computed with."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with sizes.device:
            torch.manual_seed(0)
            yield
    finally:
        torch.set_default_dtype(before)


def networks(sizes: Sizes, trained: bool = False, tokens: str = "visible") -> Denoiser:
    """Random weights; what the controller says is not zero."""
    with made_on(sizes, sizes.dtype):
        if sizes.config is None:
            backbone = small_backbone(family=sizes.family.name)
        else:
            backbone = sizes.family.parts["transformer"](**sizes.config)
    with made_on(sizes, torch.float32 if trained else sizes.dtype):
        controller = WeavingController.from_backbone(backbone, tokens=tokens)
        for project in (*controller.control_proj, *controller.camera_encoder.project):
            nn.init.normal_(project.weight, std=0.01)
    denoiser = Denoiser(backbone.requires_grad_(False), controller.requires_grad_(trained))
    return denoiser.train() if trained else denoiser.eval()


def anchors_of(sizes: Sizes, shares: list[float]) -> AnchorLatents:
    """Four anchors a sample, which show a share of the tokens together."""
    (t, h, w), N, T, B = sizes.latents, 4, sizes.pixels, len(shares)
    make = torch.Generator(sizes.device).manual_seed(1)
    each = torch.tensor([_shares(one) for one in shares], device=sizes.device)
    drawn = torch.rand(B, N, t, h // 2, w // 2, generator=make, device=sizes.device)
    poses = torch.eye(4, device=sizes.device)
    return AnchorLatents(
        latents=noise(sizes, B, N, t, sizes.channels, h, w),
        visible_tokens=drawn < each[:, :, None, None, None],
        target2source=poses.expand(B, N, T, 4, 4),
        target2first=poses.expand(B, T, 4, 4),
    )


def _shares(share: float) -> tuple[float, ...]:
    return VISIBLE.get(share, (share,) * 4)


def noise(sizes: Sizes, *shape: int) -> Tensor:
    """Standard normal."""
    make = torch.Generator(sizes.device).manual_seed(sum(shape))
    return torch.randn(*shape, generator=make, device=sizes.device, dtype=sizes.dtype)


def call_of(sizes: Sizes, backbone: nn.Module, B: int = 1) -> dict[str, Any]:
    """Arguments of `Family.predict`."""
    t, h, w = sizes.latents
    return {
        "noisy": noise(sizes, B, t, sizes.channels, h, w),
        "image": noise(sizes, B, t, sizes.channels, h, w),
        "text": noise(sizes, B, *sizes.text),
        "timestep": torch.full((B,), 500, device=sizes.device),
        "positions": sizes.family.positions(backbone, sizes.latents, sizes.device),
    }


def forward(
    sizes: Sizes,
    share: float | None,
    guided: bool = False,
    compiled: bool = False,
    sampling: bool = False,
    every: int = 1,
    fused: bool = False,
) -> tuple[Work, dict[str, Any]]:
    """A call of the backbone, woven where a share of the tokens is visible.

    Args:
        sizes: of all.
        share: of the tokens; None = the backbone alone.
        guided: a batch of two, as guidance makes it.
        compiled: block by block.
        sampling: within a sampling, where what is constant over the steps is there already.
        every: the controller in every so many steps.
        fused: one product for queries, keys and values of the backbone.
    """
    denoiser = networks(sizes, tokens="all" if share == 1.0 else "visible")
    backbone = denoiser.backbone
    call, facts = call_of(sizes, backbone, 2 if guided else 1), {}
    predict = torch.no_grad()(partial(sizes.family.predict, backbone, **call))
    if share is None:
        if fused:
            backbone.fuse_qkv_projections()
        return predict, facts
    anchors = anchors_of(sizes, [share])
    facts["visible"] = round(anchors.visible_tokens.float().mean().item(), 3)

    @torch.no_grad()
    def woven() -> Tensor:
        with denoiser.weaving(anchors):
            return predict()

    if compiled:
        expected = woven()
        compile_blocks(backbone, denoiser.controller)
        found = woven()
        difference = (found - expected).float().norm() / expected.float().norm()
        facts["relative_difference_to_not_compiled"] = difference.item()
    if not sampling:
        return woven, facts
    open_for_good = denoiser.weaving(anchors, control_every=every)
    with torch.no_grad():
        open_for_good.__enter__()
    steps = iter(range(10**6))

    @torch.no_grad()
    def steps_of_both_kinds() -> None:
        # As many as make one with the controller, the others without.
        for _ in range(every):
            call["timestep"] = torch.full_like(call["timestep"], 999 - next(steps) % 900)
            sizes.family.predict(backbone, **call)

    # Held by the work, so that it is not closed before its time.
    steps_of_both_kinds.weaving = open_for_good
    return steps_of_both_kinds, facts | {"steps_a_call": every}


def controller_alone(
    sizes: Sizes, share: float | None, rows: int = 1
) -> tuple[Work, dict[str, Any]]:
    """The controller by itself, with constants; without a share, samples of unequal ones."""
    denoiser = networks(sizes, tokens="all" if share == 1.0 else "visible")
    anchors = anchors_of(sizes, [share] if share else list(UNEQUAL[:rows]))
    call = call_of(sizes, denoiser.backbone, len(anchors.latents))
    constants = Constants()

    @torch.no_grad()
    def work() -> list[Tensor]:
        return denoiser.controller(
            call["noisy"], call["text"], call["timestep"], anchors, call["positions"], constants
        )

    return work, {"visible": round(anchors.visible_tokens.float().mean().item(), 3)}


def training(
    sizes: Sizes, share: float, kept: str | None = "nothing", compiled: bool = False
) -> tuple[Work, dict[str, Any]]:
    """A step as training takes it: forward, backward, clip, AdamW and the running average.

    Args:
        sizes: of all.
        share: of the tokens that are visible.
        kept: of the blocks for the backward pass; None = all, nothing is recomputed.
        compiled: block by block.
    """
    denoiser = networks(sizes, trained=True, tokens="all" if share == 1.0 else "visible")
    if kept is not None:
        parts = (denoiser.backbone, denoiser.controller)
        for part, keep in zip(parts, kept_parts(kept), strict=True):
            recompute(part, keep)
    if compiled:
        compile_blocks(denoiser.backbone, denoiser.controller)
    weights = list(denoiser.controller.parameters())
    optimizer = torch.optim.AdamW(weights, lr=1e-6, fused=True)
    average = running_average(weights, 0.995)
    anchors, call = anchors_of(sizes, [share]), call_of(sizes, denoiser.backbone)

    def work() -> None:
        with torch.autocast(sizes.device.type, torch.bfloat16):
            found = denoiser(
                call["noisy"],
                call["image"],
                call["text"],
                call["timestep"],
                anchors,
                call["positions"],
            )
        found.float().square().mean().backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(weights)

    return work, {"visible": round(anchors.visible_tokens.float().mean().item(), 3)}


def attention(sizes: Sizes, where: str, backend: str) -> tuple[Work, dict[str, Any]]:
    """One call of attention, forward and backward, of the backbone's or the controller's shape."""
    t, h, w = sizes.latents
    tokens, text = t * (h // 2) * (w // 2), sizes.text[0]
    if sizes.config is None:
        heads, dim = 2, 32
    else:
        made = sizes.family.sizes_of(sizes.config)
        heads, dim = made.num_heads, made.head_dim
    if where == "controller":
        heads, tokens = max(heads // 3, 1), round(0.45 * 4 * tokens)
    parts = [noise(sizes, 1, heads, text + tokens, dim).requires_grad_() for _ in range(3)]

    def work() -> None:
        with sdpa_kernel(getattr(SDPBackend, backend)), without_autocast(sizes.device):
            F.scaled_dot_product_attention(*parts).sum().backward()

    return work, {"shape": [1, heads, text + tokens, dim], "what": "forward and backward"}


def splat(sizes: Sizes) -> tuple[Work, dict[str, Any]]:
    """A cloud of one memory into all views, and a copy of as many bytes beside it."""
    count, views, H, W = sizes.splat
    make = torch.Generator().manual_seed(0)
    points = torch.rand(count, 3, generator=make) * 4 - 2
    points[:, 2] += 4
    points, colours = (part.to(sizes.device) for part in (points, torch.rand(count, 3)))
    c2w = torch.eye(4).repeat(views, 1, 1)
    c2w[:, 0, 3] = torch.linspace(-0.5, 0.5, views)
    K = torch.tensor([[W / 2.0, 0.0, W / 2], [0.0, W / 2.0, H / 2], [0.0, 0.0, 1.0]])
    cameras = Cameras(c2w, K.repeat(views, 1, 1), (H, W))
    return partial(splat_points, points, colours, cameras), {"points": count, "views": views}


def vae(sizes: Sizes, what: str, tiled: bool) -> tuple[Work, dict[str, Any]]:
    """Encode or decode one video."""
    t, h, w = sizes.latents
    with made_on(sizes, sizes.dtype):
        if sizes.config is None:
            model = TINY["tiny"].components(frames=9, size=(32, 48))["vae"].to(sizes.device)
        else:
            model = AutoencoderKLCogVideoX()
    codec = codec_of(model.eval())
    if tiled:
        codec.lay_out_tiles()
        model.enable_slicing()
        model.enable_tiling()
    H, W = codec.in_space * h, codec.in_space * w
    if what == "encode":
        given = torch.rand(1, sizes.pixels, 3, H, W, device=sizes.device, dtype=sizes.dtype)
    else:
        given = noise(sizes, 1, t, codec.channels, h, w)
    return torch.no_grad()(partial(getattr(codec, what), given)), {"video": [sizes.pixels, H, W]}

"""Small networks and inputs for the tests of this folder."""

from dataclasses import replace

import torch
from diffusers import CogVideoXTransformer3DModel, WanTransformer3DModel

from anchorweave.anchors import AnchorLatents, PrecedingLatents, ReferenceLatents
from anchorweave.models.backbones import family_of
from anchorweave.models.backbones.wan_config import made_for
from anchorweave.models.controller import WeavingController

t, h, w = 3, 4, 6
T = 9
S = 5


def small_backbone(seed: int = 0, family: str = "cogvideox", **changes) -> torch.nn.Module:
    """A backbone of a family; `changes` are of its configuration."""
    torch.manual_seed(seed)
    return SMALL[family](**changes).eval()


def _cogvideox(**changes) -> CogVideoXTransformer3DModel:
    arguments = {
        "num_attention_heads": 2,
        "attention_head_dim": 32,
        "in_channels": 8,
        "out_channels": 4,
        "time_embed_dim": 16,
        "text_embed_dim": 12,
        "num_layers": 3,
        "sample_width": w,
        "sample_height": h,
        "sample_frames": T,
        "max_text_seq_length": S,
        "use_rotary_positional_embeddings": True,
    }
    return CogVideoXTransformer3DModel(**(arguments | changes))


def _wan(**changes) -> WanTransformer3DModel:
    arguments = {
        "num_attention_heads": 2,
        "attention_head_dim": 32,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": 12,
        "freq_dim": 16,
        "ffn_dim": 160,
        "num_layers": 3,
        "rope_max_seq_len": 32,
    }
    return made_for(WanTransformer3DModel(**(arguments | changes)), T, (h, w), S)


# One small backbone a family, for latents [B, t, 4, h, w] and S text features 12 wide.
SMALL = {"cogvideox": _cogvideox, "wan": _wan}


def small_controller(backbone, seed: int = 1, zero: bool = False, **options):
    torch.manual_seed(seed)
    controller = WeavingController.from_backbone(
        backbone, **({"num_layers": 2, "num_heads": 2} | options)
    ).eval()
    if not zero:
        for project in [*controller.control_proj, *controller.camera_encoder.project]:
            torch.nn.init.normal_(project.weight, std=0.1)
            torch.nn.init.normal_(project.bias, std=0.1)
    return controller


def small_anchors(B: int = 1, N: int = 3, seed: int = 2) -> AnchorLatents:
    make = torch.Generator().manual_seed(seed)

    def poses(*shape):
        pose = torch.eye(4).repeat(*shape, 1, 1)
        pose[..., :3, :] += 0.5 * torch.randn(*shape, 3, 4, generator=make)
        return pose

    return AnchorLatents(
        latents=torch.randn(B, N, t, 4, h, w, generator=make),
        visible_tokens=torch.rand(B, N, t, h // 2, w // 2, generator=make) > 0.4,
        target2source=poses(B, N, T),
        target2first=poses(B, T),
    )


def small_call(backbone, B: int = 1, seed: int = 3) -> dict:
    make = torch.Generator().manual_seed(seed)
    return {
        "noisy_latents": torch.randn(B, t, 4, h, w, generator=make),
        "prompt_features": torch.randn(B, S, 12, generator=make),
        "timestep": torch.randint(0, 1000, (B,), generator=make),
        "positions": family_of(backbone).positions(backbone, (t, h, w)),
    }


def small_image(B: int = 1, seed: int = 4) -> torch.Tensor:
    return torch.randn(B, t, 4, h, w, generator=torch.Generator().manual_seed(seed))


def rows(anchors: AnchorLatents, batch, slots=slice(None)) -> AnchorLatents:
    """Some samples of a batch of anchors, and some of their slots in some order."""
    return AnchorLatents(
        anchors.latents[batch][:, slots],
        anchors.visible_tokens[batch][:, slots],
        anchors.target2source[batch][:, slots],
        anchors.target2first[batch],
    )


def small_references(B: int = 1, R: int = 2, seed: int = 5) -> ReferenceLatents:
    make = torch.Generator().manual_seed(seed)
    pose = torch.eye(4).repeat(B, R, 1, 1)
    pose[..., :3, :] += 0.5 * torch.randn(B, R, 3, 4, generator=make)
    return ReferenceLatents(
        latents=torch.randn(B, R, 4, h, w, generator=make),
        present=torch.ones(B, R, dtype=torch.bool),
        reference2first=pose,
        target2first=small_anchors(B).target2first,
    )


def small_preceding(B: int = 1, N: int = 3, seed: int = 6) -> PrecedingLatents:
    """Two latent frames, of five frames, ahead of the video."""
    whole = small_anchors(B, N, seed)
    anchors = replace(
        whole,
        latents=whole.latents[:, :, :2],
        visible_tokens=whole.visible_tokens[:, :, :2],
        target2source=whole.target2source[:, :, :5],
        target2first=whole.target2first[:, :5],
    )
    make = torch.Generator().manual_seed(seed)
    return PrecedingLatents(torch.randn(B, 2, 4, h, w, generator=make), anchors)

"""The denoiser in the size of CogVideoX-5B on a GPU: seconds and peak memory of a step."""

import json
import time

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel

from anchorweave.anchors import AnchorLatents
from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.denoiser import Denoiser
from tests.alike import alike

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA GPU here, or TEST_GPU=1 is not set"
)

# 480x720, 49 frames
t, h, w, T, K = 13, 60, 90, 49, 4


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            backbone = CogVideoXTransformer3DModel(
                num_attention_heads=48,
                attention_head_dim=64,
                in_channels=32,
                num_layers=42,
                use_rotary_positional_embeddings=True,
            ).eval()
            controllers = {
                tokens: WeavingController.from_backbone(backbone, tokens=tokens).eval()
                for tokens in ("all", "visible")
            }
    finally:
        torch.set_default_dtype(before)
    return backbone, controllers


@pytest.mark.parametrize("tokens", ["all", "visible"])
@pytest.mark.parametrize("guidance", [False, True])
@torch.no_grad()
def test_one_step(networks, guidance, tokens, capsys):
    backbone, controllers = networks
    denoiser = Denoiser(backbone, controllers[tokens])
    make = torch.Generator("cuda").manual_seed(0)

    def noise(*shape):
        return torch.randn(*shape, generator=make, device="cuda", dtype=torch.bfloat16)

    anchors = AnchorLatents(
        latents=noise(1, K, t, 16, h, w),
        # one anchor that sees nearly everything, three that see a part
        visible_tokens=torch.rand(1, K, t, h // 2, w // 2, generator=make, device="cuda")
        < torch.tensor([0.95, 0.4, 0.2, 0.0], device="cuda")[:, None, None, None],
        target2source=torch.eye(4, device="cuda").expand(1, K, T, 4, 4),
        target2first=torch.eye(4, device="cuda").expand(1, T, 4, 4),
    )
    B = 2 if guidance else 1
    table = family_of(backbone).positions(backbone, (t, h, w), device="cuda")
    prompt = noise(B, 226, 4096)
    hidden = noise(1, t, 32, h, w).repeat(B, 1, 1, 1, 1)
    timestep = torch.full((B,), 500, device="cuda")

    def step():
        with denoiser.weaving(anchors):
            return backbone(
                hidden_states=hidden,
                encoder_hidden_states=prompt,
                timestep=timestep,
                image_rotary_emb=table,
                return_dict=False,
            )[0]

    step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    prediction = step()
    torch.cuda.synchronize()
    report = {
        "gpu": torch.cuda.get_device_name(),
        "guidance": guidance,
        "tokens": tokens,
        "anchors": K,
        "seconds_per_step": round(time.perf_counter() - start, 3),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
    }
    with capsys.disabled():
        print(json.dumps(report))
    assert prediction.shape == (B, t, 16, h, w)
    assert torch.isfinite(prediction).all()
    # Its controller starts at zero, so weaving must not change the answer.
    alone = backbone(
        hidden_states=hidden,
        encoder_hidden_states=prompt,
        timestep=timestep,
        image_rotary_emb=table,
        return_dict=False,
    )[0]
    assert alike(prediction, alone)

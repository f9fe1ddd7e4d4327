import pytest
import torch
from diffusers.models.attention_processor import (
    CogVideoXAttnProcessor2_0,
    FusedCogVideoXAttnProcessor2_0,
)

from anchorweave.models.backbones.cogvideox_attention import CogVideoXFastProcessor, absence_mask
from anchorweave.models.denoiser import Denoiser
from tests.models.small import S, small_backbone, small_call


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("rotary", [False, True])
def test_it_answers_as_diffusers_does_forward_and_backward(dtype, masked, rotary):
    backbone = small_backbone().to(dtype)
    attention = backbone.transformer_blocks[0].attn1
    make = torch.Generator().manual_seed(0)
    tokens, text = (
        torch.randn(2, n, 64, generator=make).to(dtype).requires_grad_() for n in (18, S)
    )
    given = {"image_rotary_emb": small_call(backbone)["positions"] if rotary else None}
    if masked:
        present = torch.ones(2, 18, dtype=torch.bool)
        present[0, 6:12] = False
        given["attention_mask"] = absence_mask(tokens, S, present)
    found = []
    for processor in (CogVideoXAttnProcessor2_0(), CogVideoXFastProcessor()):
        attention.set_processor(processor)
        answers = attention(tokens, text, **given)
        gradients = torch.autograd.grad(
            sum(a.float().square().sum() for a in answers), (tokens, text)
        )
        found.append((*answers, *gradients))
    # bfloat16 has 8 bits, and queries are rounded to it in another order.
    tolerance = {"rtol": 0.05, "atol": 0.05} if dtype == torch.bfloat16 else {}
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)


def test_only_diffusers_own_processor_is_replaced():
    backbone = small_backbone()
    fused = FusedCogVideoXAttnProcessor2_0()
    backbone.transformer_blocks[1].attn1.set_processor(fused)
    Denoiser(backbone, None)
    kinds = [type(block.attn1.processor) for block in backbone.transformer_blocks]
    assert kinds == [CogVideoXFastProcessor, type(fused), CogVideoXFastProcessor]

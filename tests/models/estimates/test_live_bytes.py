from contextlib import nullcontext
from itertools import count

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from anchorweave.models.denoiser import Denoiser
from anchorweave.models.estimates.live_bytes import FusedAttention, LiveBytes, StatedNumbers
from tests.models.small import SMALL, small_anchors, small_backbone, small_call, small_controller


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_bytes_that_are_alive_are_counted_once(device):
    held = torch.empty(25, device=device)
    with LiveBytes([held, held], device) as live:
        assert live.now == 100
        first = torch.empty(1000, device=device)
        view = first.view(10, 100)
        assert live.now == 100 + 4000
        second = first + 1
        assert live.now == 100 + 8000
        del first
        # The view still holds it.
        assert live.now == 100 + 8000
        del view, second
        assert live.now == 100
        assert live.peak == 8100


def test_what_lies_elsewhere_does_not_count():
    with LiveBytes(device="meta") as live:
        kept = torch.zeros(1000)
    assert live.peak == 0 and len(kept) == 1000


def test_attention_is_one_kernel_that_writes_no_scores():
    query = torch.empty(1, 2, 64, 16, device="meta")
    mask = torch.empty(1, 1, 64, 64, device="meta")
    with FusedAttention(), LiveBytes([query, mask]) as live:
        before = live.now
        for given in (None, mask):
            out = F.scaled_dot_product_attention(query, query, query, attn_mask=given)
            assert out.shape == query.shape
    # Of scores there would be 4 * 2 * 64 * 64 bytes.
    assert live.peak - before < 4 * 2 * 64 * 64
    assert live.peak - before >= 4 * query.numel()


def test_numbers_that_are_read_are_those_that_were_stated():
    rows = torch.empty(2, 5, device="meta", dtype=torch.bool)
    with StatedNumbers(3, count(7).__next__):
        assert rows.sum(dim=1).tolist() == [3, 3]
        assert [rows[0, 0].long().item(), rows[0, 0].long().item()] == [7, 8]


@pytest.mark.parametrize("tokens", ["all", "visible"])
@pytest.mark.parametrize("family", SMALL)
def test_the_meta_device_takes_what_a_cpu_really_takes(family, tokens):
    """A woven call: its tensors on the CPU, and the same call without numbers."""
    B, peaks, backbone = 2, [], small_backbone(family=family).eval()
    controller = small_controller(backbone, tokens=tokens).eval()
    denoiser = Denoiser(backbone, controller)
    anchors = small_anchors(B, 3)
    call = small_call(backbone, B)
    visible = anchors.visible_tokens.clone().flatten(1)
    visible[:] = torch.arange(visible.shape[1]) % 2 == 0
    anchors.visible_tokens.copy_(visible.view_as(anchors.visible_tokens))
    seen = int(visible[0].sum())
    for device in ("cpu", "meta"):
        denoiser.to(device)
        given = anchors.to(torch.device(device))
        arguments = {
            name: tuple(part.to(device) for part in value)
            if isinstance(value, tuple)
            else (value.to(device) if isinstance(value, torch.Tensor) else value)
            for name, value in call.items()
        }
        arguments["image_latents"] = torch.zeros_like(arguments["noisy_latents"])
        arguments["anchors"] = given
        live = LiveBytes([*denoiser.parameters(), *denoiser.buffers()], device)
        weights = live.now
        stated = StatedNumbers(seen, count().__next__)
        fused = FusedAttention() if device == "meta" else nullcontext()
        with torch.no_grad(), live, stated, fused:
            denoiser(**arguments)
        peaks.append(live.peak - weights)
    # The CPU's kernels of attention keep another few numbers a row.
    assert peaks[1] == pytest.approx(peaks[0], rel=0.03)

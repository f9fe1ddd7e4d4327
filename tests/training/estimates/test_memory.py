from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXBlock

from anchorweave.models.backbones.cogvideox_attention import CogVideoXFastProcessor
from anchorweave.models.cross_anchor_attention import CrossAnchorAttnProcessor
from tests.training.estimates.test_operations import full_step
from training.estimates.memory import BLOCK_BYTES, Weights, activations, looking_bytes, memory
from training.estimates.operations import Looking


@contextmanager
def kept_tensors():
    """Sizes in bytes of the distinct tensors that autograd keeps, with their shapes."""
    kept = {}

    def pack(x):
        # Also held here, so that no later tensor takes the place of a freed one.
        storage = x.untyped_storage()
        kept[storage.data_ptr()] = (storage.nbytes(), x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        yield kept


def test_what_looking_at_references_keeps_is_counted():
    dim, inner, queries, keys = 384, 256, 600, 200
    layer = Attention(
        dim, cross_attention_dim=dim, heads=4, dim_head=64, qk_norm="layer_norm", bias=True
    )
    norm = torch.nn.LayerNorm(dim)
    video = torch.randn(1, queries, dim, requires_grad=True)
    remembered = torch.randn(1, keys, dim, requires_grad=True)
    weights = {p.data_ptr() for p in (*layer.parameters(), *norm.parameters())}
    with kept_tensors() as kept:
        layer(norm(video), remembered)
    met = sum(size for place, (size, _) in kept.items() if place not in weights)
    looking = Looking(1, 1, queries, keys, dim, inner, True)
    assert looking_bytes(looking, "fp32") == pytest.approx(met, rel=0.02)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("kind", ["trained", "adapted", "frozen"])
def test_a_block_keeps_as_many_bytes_as_are_said(kind, precision, monkeypatch):
    S, L, dim = 32, 480, 320
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    plain = F.layer_norm

    def as_on_a_gpu(x, shape, weight=None, bias=None, eps=1e-5):
        # Autocast on a GPU computes norms in float32; on a CPU it leaves them as they are.
        with torch.autocast("cpu", enabled=False):
            parts = (None if p is None else p.float() for p in (weight, bias))
            return plain(x.float(), shape, *parts, eps)

    under_autocast = precision == "bf16" and kind != "frozen"
    if under_autocast:
        monkeypatch.setattr(F, "layer_norm", as_on_a_gpu)
    torch.manual_seed(0)
    block = CogVideoXBlock(dim, dim // 64, 64, 16, attention_bias=True)
    if kind != "trained":
        block = block.to(dtype).requires_grad_(False)
        block.attn1.set_processor(CogVideoXFastProcessor())
        table = (torch.ones(L, 64), torch.ones(L, 64))
    else:
        block.attn1.set_processor(CrossAnchorAttnProcessor())
        table = torch.ones(1, 1, S + L, 32, 2)
    tokens = torch.randn(1, L, dim, dtype=dtype, requires_grad=True)
    text = torch.randn(1, S, dim, dtype=dtype, requires_grad=True)
    cast = torch.autocast("cpu", torch.bfloat16, enabled=under_autocast)
    with cast, kept_tensors() as kept:
        block(tokens, text, torch.randn(1, 16, dtype=dtype), table)
    # Whatever has an axis of tokens; the others are weights and their copies.
    met = sum(size for size, x in kept.values() if {S, L, S + L} & set(x.shape))
    assert met / ((S + L) * dim) == pytest.approx(BLOCK_BYTES[precision][kind], rel=0.06)


def test_memory_falls_with_checkpointing_and_with_spreading():
    step, weights = full_step(), Weights(5_570_479_680, 416_836_985)
    total = {
        (strategy, again): sum(memory(step, weights, strategy, 8, again).values())
        for strategy in ("ddp", "zero2", "fsdp2")
        for again in (False, True)
    }
    for again in (False, True):
        assert total["ddp", again] > total["zero2", again] > total["fsdp2", again]
    for strategy in ("ddp", "zero2", "fsdp2"):
        assert total[strategy, True] < total[strategy, False] / 3


def test_memory_of_weights_is_what_they_are_stored_in():
    step, weights = full_step(), Weights(1000, 100)
    ddp = memory(step, weights, "ddp", 1, True)
    assert (ddp["frozen_weights"], ddp["trained_weights"]) == (2000, 400)
    assert (ddp["gradients"], ddp["optimizer_states"], ddp["running_average"]) == (400, 800, 400)
    assert ddp["autocast_copies"] == 200
    assert "autocast_copies" not in memory(step, weights, "ddp", 1, True, precision="fp32")
    zero = memory(step, weights, "zero2", 8, True)
    assert (zero["gradients"], zero["optimizer_states"]) == (50, 100)
    assert zero["trained_weights"] == 400
    fsdp = memory(step, weights, "fsdp2", 8, True)
    assert (fsdp["frozen_weights"], fsdp["trained_weights"]) == (250, 50)
    # two blocks of each network at once, of 42 and of 16
    assert fsdp["gathered_weights"] == pytest.approx(2 * (2 * 1000 / 42 + 4 * 100 / 16))
    assert memory(step, weights, "ddp", 1, True, average=False)["running_average"] == 0
    assert memory(step, weights, "ddp", 1, True, precision="fp32")["frozen_weights"] == 4000


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ValueError, match="zero3"):
        memory(full_step(), Weights(1, 1), "zero3", 8, True)


def test_what_is_kept_takes_its_memory_and_saves_its_operations():
    step = full_step()
    tokens, joint = 226 + 17_550, 226 + 4 * 17_550
    bare = activations(step, "bf16", True)
    controller = activations(step, "bf16", True, "attention_of_controller") - bare
    assert controller == 16 * joint * 1024 * 2
    both = activations(step, "bf16", True, "attention") - bare
    assert both - controller == 42 * tokens * 3072 * 2
    saved = step.recomputed() - step.recomputed("attention")
    assert saved == step.backbone.attention + step.controller.attention
    assert step.recomputed("attention_of_controller") == saved - step.controller.attention + (
        step.recomputed("attention")
    )

import pytest
import torch
from torch._dynamo.utils import counters

from anchorweave.models.backbones import family_of
from anchorweave.models.compilation import compile_blocks
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.insertions import _WovenBlock
from tests.alike import alike
from tests.models.small import (
    SMALL,
    S,
    small_anchors,
    small_backbone,
    small_call,
    small_controller,
    small_image,
)


@pytest.fixture(autouse=True)
def nothing_compiled():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("family", SMALL)
@torch.no_grad()
def test_blocks_are_compiled_once_for_all_layers_and_any_number_of_visible_tokens(family):
    backbone = small_backbone(family=family)
    controller = small_controller(backbone, num_layers=3, tokens="visible")
    denoiser = Denoiser(backbone, controller)
    calls = [
        {
            "image_latents": small_image(),
            "anchors": small_anchors(seed=seed),
            **small_call(backbone, seed=seed),
        }
        for seed in range(4)
    ]
    counts = {int(call["anchors"].visible_tokens.sum()) for call in calls}
    assert len(counts) > 2
    expected = [denoiser(**call) for call in calls]
    compile_blocks(backbone, controller, backend="eager", fullgraph=True)
    graphs = []
    for call, plain in zip(calls, expected, strict=True):
        assert alike(denoiser(**call), plain)
        graphs.append(counters["stats"]["unique_graphs"])
    # The backbone's kind and the controller's, whatever the number of layers; then the controller's
    # once more for any length.
    assert graphs[0] == 2 and graphs[1] <= 3 and graphs[-1] == graphs[1]
    # Diffusers' own name for it.
    assert controller._repeated_blocks == controller._no_split_modules


@pytest.mark.parametrize("family", SMALL)
@torch.no_grad()
def test_a_woven_block_is_one_graph(family):
    backbone = small_backbone(family=family)
    kind = family_of(backbone)
    block = kind.blocks(backbone)[0]
    before, after = torch.randn(1, 3, 64), torch.randn(1, 18, 64)
    woven = _WovenBlock(kind, block, before, after, 0)
    met = []
    hook = block.register_forward_pre_hook(
        lambda _, args, kwargs: met.append((args, kwargs)), with_kwargs=True
    )
    call = small_call(backbone)
    given = [call[name] for name in ("prompt_features", "timestep", "positions")]
    kind.predict(backbone, call["noisy_latents"], small_image(), *given)
    hook.remove()
    args, kwargs = met[0]
    compiled = torch.compile(woven, backend="eager", fullgraph=True)
    found, expected = compiled(*args, **kwargs), woven(*args, **kwargs)
    assert alike(kind.tokens(found), kind.tokens(expected))
    assert kind.tokens(found).shape == (1, 18, 64) and S == 5


def test_compiled_blocks_have_the_same_gradients_under_checkpointing():
    backbone = small_backbone().requires_grad_(False)
    gradients = []
    for compiled in (False, True):
        controller = small_controller(backbone, tokens="visible")
        controller.enable_gradient_checkpointing()
        if compiled:
            compile_blocks(backbone, controller, backend="aot_eager")
        denoiser = Denoiser(backbone, controller).train()
        call = {"image_latents": small_image(), "anchors": small_anchors(), **small_call(backbone)}
        denoiser(**call).square().mean().backward()
        gradients.append([p.grad for p in controller.parameters()])
    assert all(alike(a, b) for a, b in zip(*gradients, strict=True))

"""Compiled blocks against plain ones; prints one JSON line.

A program of its own: what checks types while testing cannot be compiled.
"""

import json

import torch
from torch._dynamo.utils import counters

from anchorweave.models.backbones import family_of
from anchorweave.models.compilation import compile_blocks
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.insertions import _WovenBlock
from tests.models.small import (
    SMALL,
    small_anchors,
    small_backbone,
    small_call,
    small_controller,
    small_image,
)


@torch.no_grad()
def calls_of_any_length(family: str) -> dict:
    """Graphs after each call, whose anchors show ever other numbers of tokens."""
    torch._dynamo.reset()
    counters.clear()
    backbone = small_backbone(family=family)
    controller = small_controller(backbone, tokens="visible")
    denoiser = Denoiser(backbone, controller)
    calls = [
        {
            "image_latents": small_image(),
            "anchors": small_anchors(seed=seed),
            **small_call(backbone, seed=seed),
        }
        for seed in range(3)
    ]
    expected = [denoiser(**call) for call in calls]
    compile_blocks(backbone, controller, backend="eager", fullgraph=True)
    graphs, error = [], 0.0
    for call, plain in zip(calls, expected, strict=True):
        error = max(error, float((denoiser(**call) - plain).abs().max()))
        graphs.append(counters["stats"]["unique_graphs"])
    visible = [int(call["anchors"].visible_tokens.sum()) for call in calls]
    return {"graphs": graphs, "error": error, "visible": visible}


@torch.no_grad()
def woven_block(family: str) -> float:
    """One woven block as one graph: the largest difference to it not compiled."""
    backbone = small_backbone(family=family)
    kind = family_of(backbone)
    block, met = kind.blocks(backbone)[0], []
    hook = block.register_forward_pre_hook(
        lambda _, args, kwargs: met.append((args, kwargs)), with_kwargs=True
    )
    call = small_call(backbone)
    given = [call[name] for name in ("prompt_features", "timestep", "positions")]
    kind.predict(backbone, call["noisy_latents"], small_image(), *given)
    hook.remove()
    args, kwargs = met[0]
    woven = _WovenBlock(kind, block, torch.randn(1, 3, 64), torch.randn(1, 18, 64), 0)
    compiled = torch.compile(woven, backend="eager", fullgraph=True)
    found, expected = (kind.tokens(one(*args, **kwargs)) for one in (compiled, woven))
    return float((found - expected).abs().max())


def gradients() -> float:
    """Under gradient checkpointing, the largest difference of any gradient."""
    backbone = small_backbone(num_layers=1).requires_grad_(False)
    found = []
    for compiled in (False, True):
        controller = small_controller(backbone, num_layers=1, tokens="visible")
        controller.enable_gradient_checkpointing()
        if compiled:
            compile_blocks(backbone, controller, backend="eager")
        call = {"image_latents": small_image(), "anchors": small_anchors(), **small_call(backbone)}
        Denoiser(backbone, controller)(**call).square().mean().backward()
        found.append([p.grad for p in controller.parameters()])
    return max(float((a - b).abs().max()) for a, b in zip(*found, strict=True))


if __name__ == "__main__":
    report = {family: calls_of_any_length(family) for family in SMALL}
    report["woven"] = {family: woven_block(family) for family in SMALL}
    report["gradients"] = gradients()
    print(json.dumps(report))

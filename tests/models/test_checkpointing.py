import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from anchorweave.models.checkpointing import ATTENTION, kept_parts, recompute
from anchorweave.models.denoiser import Denoiser
from tests.alike import alike
from tests.models.small import (
    SMALL,
    small_anchors,
    small_backbone,
    small_call,
    small_controller,
    small_image,
)


class CountAttention(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls += function in ATTENTION
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", SMALL)
def test_kept_attention_is_not_computed_again_and_gradients_are_the_same(family):
    found = {}
    for kept in (None, "nothing", "attention_of_controller", "attention"):
        backbone = small_backbone(family=family).requires_grad_(False).train()
        controller = small_controller(backbone, tokens="visible").train()
        if kept is not None:
            for part, keep in zip((backbone, controller), kept_parts(kept), strict=True):
                recompute(part, keep)
        call = {"image_latents": small_image(), "anchors": small_anchors(), **small_call(backbone)}
        loss = Denoiser(backbone, controller)(**call).square().mean()
        with CountAttention() as counted:
            loss.backward()
        found[kept] = counted.calls, [p.grad for p in controller.parameters()]
    each = 2 if family == "wan" else 1
    backbones, controllers = 3 * each, 2 * each
    again = [found[kept][0] for kept in found]
    assert again == [0, backbones + controllers, backbones, 0]
    for _, gradients in found.values():
        assert all(alike(a, b) for a, b in zip(gradients, found[None][1], strict=True))

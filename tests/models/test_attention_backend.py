import pytest
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from torch.utils._python_dispatch import TorchDispatchMode

from anchorweave.models.attention_backend import BACKENDS, use_attention
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


class Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.met = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.met.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", SMALL)
@torch.no_grad()
def test_another_kernel_computes_all_attention_and_answers_the_same(family):
    backbone = small_backbone(family=family)
    denoiser = Denoiser(backbone, small_controller(backbone, tokens="visible"))
    call = {
        "image_latents": small_image(B=2),
        "anchors": small_anchors(B=2),
        **small_call(backbone, B=2),
    }

    def run():
        with Operations() as operations:
            found = denoiser(**call)
        return found, sum("attention" in name for name in operations.met)

    expected, fast = run()
    use_attention(backbone, denoiser.controller, "math")
    found, left = run()
    assert alike(found, expected)
    # The plain kernel is written out as products.
    assert fast > 0 and left == 0
    processors = [part.processor for part in denoiser.modules() if hasattr(part, "processor")]
    assert {one._attention_backend.value for one in processors} == {"_native_math"}
    # Other models of the process keep theirs.
    assert _AttentionBackendRegistry.get_active_backend()[0].value == "native"


def test_what_is_not_there_is_refused():
    backbone = small_backbone()
    with pytest.raises(ValueError, match="attention_backend is one of cudnn"):
        use_attention(backbone, None, "fast")
    assert {"cudnn", "flash", "sage"} <= BACKENDS.keys()
    with pytest.raises(ValueError, match="attention_backend=sage is not available here"):
        use_attention(backbone, None, "sage")

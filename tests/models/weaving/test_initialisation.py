import pytest
import torch

from anchorweave.models.controller import WeavingController
from anchorweave.models.weaving.initialisation import copy_backbone_blocks
from tests.models.small import small_anchors, small_backbone, small_call


def test_blocks_are_the_backbone_s_first_and_the_answer_is_still_nothing():
    backbone = small_backbone()
    controller = WeavingController.from_backbone(backbone, num_layers=2, num_heads=2)
    copy_backbone_blocks(controller, backbone)
    for ours, theirs in zip(controller.blocks, backbone.transformer_blocks, strict=False):
        for name, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value)
    call = small_call(backbone)
    with torch.no_grad():
        features = controller(
            call["noisy_latents"],
            call["prompt_features"],
            call["timestep"],
            small_anchors(),
            call["positions"],
        )
    assert not any(feature.any() for feature in features)


def test_another_width_is_refused_with_the_heads_that_fit():
    backbone = small_backbone()
    controller = WeavingController.from_backbone(backbone, num_layers=2, num_heads=1)
    before = {n: v.clone() for n, v in controller.state_dict().items()}
    with pytest.raises(ValueError, match=r"64 wide \(2 heads of 32\).*32 \(1 heads\).*heads=2"):
        copy_backbone_blocks(controller, backbone)
    assert all(torch.equal(before[n], v) for n, v in controller.state_dict().items())

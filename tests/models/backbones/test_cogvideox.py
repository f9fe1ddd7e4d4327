from types import SimpleNamespace

import pytest
import torch
from diffusers import CogVideoXImageToVideoPipeline

from anchorweave.models.backbones import family_of
from tests.alike import alike
from tests.models.small import small_backbone


@pytest.mark.parametrize("size", [(3, 4, 6), (2, 8, 6)])
def test_equals_what_the_pipeline_prepares(size):
    backbone = small_backbone()
    t, h, w = size
    pipeline = SimpleNamespace(transformer=backbone, vae_scale_factor_spatial=8)
    expected = CogVideoXImageToVideoPipeline._prepare_rotary_positional_embeddings(
        pipeline, 8 * h, 8 * w, t, torch.device("cpu")
    )
    for ours, theirs in zip(family_of(backbone).positions(backbone, size), expected, strict=True):
        assert alike(ours, theirs)


def test_none_for_a_backbone_without_rotary_positions():
    backbone = small_backbone(use_rotary_positional_embeddings=False)
    assert family_of(backbone).positions(backbone, (3, 4, 6)) is None

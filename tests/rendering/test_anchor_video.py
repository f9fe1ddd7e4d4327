"""Which renderer is taken, and what its options do."""

import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.point_cloud import PointCloud
from anchorweave.rendering import RenderConfig, anchor_video, render_anchor

CAMERAS = Cameras(torch.eye(4)[None], intrinsics(20.0, 20.0, 8.0, 6.0)[None], (12, 16))


def cloud(seed=0):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(60, 3, generator=generator) - torch.tensor([0.5, 0.5, -1.0])
    return PointCloud(points, torch.rand(60, 3, generator=generator))


@pytest.mark.parametrize("radius", [0, 1])
def test_all_renderers_show_the_same(radius):
    shown = [
        render_anchor(cloud(), CAMERAS, RenderConfig(radius, name))
        for name in ("auto", "numba", "torch")
    ]
    assert shown[0].visible.any()
    for other in shown[1:]:
        assert torch.equal(shown[0].video, other.video)
        assert torch.equal(shown[0].depth, other.depth)


def test_holes_are_black_and_a_radius_closes_some():
    thin, wide = (render_anchor(cloud(), CAMERAS, RenderConfig(radius)) for radius in (0, 1))
    assert not thin.visible.all()
    assert (thin.video.permute(0, 2, 3, 1)[~thin.visible] == 0).all()
    assert (wide.visible | ~thin.visible).all() and wide.visible.sum() > thin.visible.sum()


@pytest.mark.parametrize(("asked", "taken"), [("auto", "numba"), ("numba",) * 2, ("torch",) * 2])
def test_the_asked_renderer_is_taken_on_the_cpu(asked, taken, monkeypatch):
    calls = []
    for name, renderer in anchor_video.RENDERERS.items():
        monkeypatch.setitem(
            anchor_video.RENDERERS,
            name,
            lambda *args, name=name, renderer=renderer: (calls.append(name), renderer(*args))[1],
        )
    render_anchor(cloud(), CAMERAS, RenderConfig(renderer=asked))
    assert calls == [taken]


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="splat_radius must be 0 pixels or more, got -2"):
        RenderConfig(splat_radius=-2)
    config = RenderConfig()
    object.__setattr__(config, "renderer", "cuda")  # past the type checks that only tests have
    with pytest.raises(ValueError, match="'cuda' is none of auto, numba, torch"):
        config.__post_init__()

"""Frames ahead of the target in a prepared and an encoded clip."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from anchorweave.anchors import Preceding
from anchorweave.datasets.doctor import examine
from anchorweave.datasets.encoded_clip import preceding_keys, write_tensors
from anchorweave.datasets.latent_clips import read_clip
from anchorweave.datasets.layout import CAMERAS, LATENTS, BadClip
from anchorweave.datasets.prepared_clip import write_prepared
from anchorweave.datasets.prepared_clip_reading import read_preceding
from tests.datasets import small_clips
from tests.datasets.small_clips import SIZE, SLOTS, UNIT, write_clip
from tests.rooms import walk

P, p, MEMORY = 5, 2, "local_clouds"


def ahead(anchors):
    """Frames ahead of a clip, of which every slot sees the upper half."""
    seen = walk(P, SIZE)
    visible = torch.zeros(SLOTS, P, *SIZE, dtype=torch.bool)
    visible[..., : SIZE[0] // 2, :] = True
    video = torch.where(visible[:, :, None], seen.frames[None], 0.0)
    poses = seen.cameras.relative_to(seen.cameras[-1])
    shown = replace(
        anchors, video=video, visible=visible, target2source=poses.repeat(SLOTS, 1, 1, 1)
    )
    return Preceding(seen.frames, shown, poses)


def tensors():
    make = torch.Generator().manual_seed(9)
    found = (
        torch.randn(p, 4, 4, 8, generator=make),
        torch.randn(SLOTS, p, 4, 4, 8, generator=make),
        torch.ones(SLOTS, p, 2, 4, dtype=torch.bool),
        torch.rand(SLOTS, p, 2, 4, generator=make),
    )
    return dict(zip(preceding_keys(MEMORY), found, strict=True))


@pytest.fixture(scope="module", params=["raw", "video"])
def stored(request, tmp_path_factory):
    """A clip with frames ahead of it, and what was written."""
    root = tmp_path_factory.mktemp(request.param)
    clip = small_clips.pixels()
    known = clip.retrieved[MEMORY]
    known = replace(known, preceding=ahead(known.anchors))
    path = write_clip(root, "clip")
    encoded = (path / LATENTS).read_bytes()
    caption = (path / "caption.safetensors").read_bytes()
    shutil.rmtree(path)
    path.mkdir()
    write_prepared(path, replace(clip, retrieved={MEMORY: known}), 8, request.param)
    (path / "caption.safetensors").write_bytes(caption)
    (path / LATENTS).write_bytes(encoded)
    return path, known.preceding


@pytest.fixture
def folder(stored, tmp_path):
    return shutil.copytree(stored[0], tmp_path / "clip")


@pytest.fixture
def clip(folder):
    write_tensors(folder / LATENTS, small_clips.latents() | tensors(), {"vae": "v"})
    return read_clip(folder, MEMORY)


def test_pixels_come_back(stored):
    path, truth = stored
    found = read_preceding(path, MEMORY)
    # H.264 loses a little.
    assert (found.frames - truth.frames).abs().mean() < 0.03
    assert torch.equal(found.anchors.visible, truth.anchors.visible)
    assert (found.anchors.video - truth.anchors.video).abs().mean() < 0.03
    assert torch.equal(found.anchors.target2source, truth.anchors.target2source)
    assert torch.equal(found.preceding2first, truth.preceding2first)


def test_latents_come_back_in_scene_units(clip, stored):
    latents, anchors, _, share = tensors().values()
    found = clip.preceding
    assert torch.equal(found.latents[0], latents) and torch.equal(found.anchors.latents[0], anchors)
    assert torch.equal(found.anchors.coverage[0], share)
    first = stored[1].preceding2first
    torch.testing.assert_close(UNIT * found.anchors.target2first[0, :, :3, 3], first[:, :3, 3])


def test_a_clip_without_them_has_none(tmp_path):
    path = write_clip(tmp_path, "clip")
    assert read_preceding(path, MEMORY) is None and read_clip(path, MEMORY).preceding is None


def test_files_that_lack_something_are_named(folder):
    with pytest.raises(BadClip, match="latents.safetensors lacks .*'preceding.local_clouds'.*prec"):
        read_clip(folder, MEMORY)
    short = tensors()
    short[preceding_keys(MEMORY)[0]] = short[preceding_keys(MEMORY)[0]][:1]
    write_tensors(folder / LATENTS, small_clips.latents() | short, {"vae": "v"})
    with pytest.raises(BadClip, match="preceding frames' anchors: got .*ted .1, 2, 1, 4, 4, 8"):
        read_clip(folder, MEMORY)
    (verdict,) = examine(folder.parent)
    assert any("preceding frames' anchors" in problem for problem in verdict.problems)
    (folder / "preceding" / MEMORY / "visible.npz").unlink()
    with pytest.raises(BadClip, match="preceding/local_clouds/visible.npz is missing"):
        read_preceding(folder, MEMORY)
    with np.load(folder / CAMERAS) as poses:
        others = {name: poses[name] for name in poses.files if "preceding2source" not in name}
    np.savez(folder / CAMERAS, **others)
    with pytest.raises(BadClip, match="no poses for the preceding anchors of local_clouds"):
        read_preceding(folder, MEMORY)

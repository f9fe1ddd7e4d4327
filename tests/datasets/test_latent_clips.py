import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from anchorweave.anchors import AnchorLatents
from anchorweave.datasets.encoded_clip import coverage_key, visible_key, write_tensors
from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.layout import LATENTS, BadClip, write_quarantine
from anchorweave.datasets.mixture import open_clips
from tests.datasets.small_clips import FRAMES, SLOTS, UNIT, latents, pixels, write_clip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for seed, name in enumerate(("b", "a", "c")):
        write_clip(root, name, seed)
    return root


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "data")


def test_a_clip_is_what_was_encoded_with_lengths_in_scene_units(made):
    clips = LatentClips(made)
    assert len(clips) == 3 and [clip.name for clip in clips.clips] == ["a", "b", "c"]
    clip, truth, known = clips[1], latents(0), pixels().retrieved["local_clouds"]
    assert clip.name == str(made / "b")
    assert torch.equal(clip.latents, truth["target"])
    assert torch.equal(clip.anchor_latents, truth["anchors.local_clouds"])
    assert clip.target2source.shape == (SLOTS, FRAMES, 4, 4)
    expected = known.in_unit(UNIT)
    torch.testing.assert_close(clip.target2first, expected.target2first)
    torch.testing.assert_close(clip.target2source, expected.anchors.target2source)
    assert torch.equal(clip.target2first[:, :3, :3], known.target2first[:, :3, :3])
    assert torch.equal(clips.empty_prompt(), torch.zeros(3, 6))


def test_without_a_memory_no_anchor_is_read(root):
    whole = LatentClips(root)[0]
    kept = {key: value for key, value in latents(1).items() if key in ("target", "image")}
    write_tensors(root / "a" / LATENTS, kept, {})
    clips = open_clips(root, memory=None, first_frame="always")
    assert torch.equal(clips[0].latents, latents(1)["target"])
    assert torch.equal(clips[0].target2first, whole.target2first)
    batch = AnchorLatents.join([clips[0].anchors, clips[1].anchors])
    assert batch.latents.shape == (2, 0, *whole.latents.shape)
    assert batch.target2source.shape == (2, 0, FRAMES, 4, 4)
    assert batch.visible_tokens.shape == (2, 0, *whole.visible_tokens.shape[1:])
    with pytest.raises(BadClip, match="lacks"):
        LatentClips(root)[0]


def test_the_same_index_is_the_same_clip_in_a_loader(made):
    clips = LatentClips(made)
    (loaded,) = DataLoader(clips, batch_size=3, collate_fn=list, num_workers=1)
    assert [clip.name for clip in loaded] == [clips[i].name for i in range(3)]
    assert torch.equal(loaded[2].latents, clips[2].latents)


def test_the_first_frame_may_count_as_visible_always(made):
    assert not LatentClips(made)[0].visible_tokens.any()
    seen = LatentClips(made, first_frame="always")[0].visible_tokens
    assert seen[:, 0].all() and not seen[:, 1:].any()


def test_the_share_of_tokens_is_read_where_it_was_written(root):
    stored = latents(1)
    share = torch.rand(stored[visible_key("local_clouds")].shape)
    write_tensors(root / "a" / LATENTS, stored | {coverage_key("local_clouds"): share}, {})
    with_, without = (LatentClips(root)[i] for i in (0, 1))
    assert torch.equal(with_.coverage, share) and without.coverage is None
    always = LatentClips(root, first_frame="always")[0].coverage
    assert (always[:, 0] == 1).all() and torch.equal(always[:, 1:], share[:, 1:])
    odd = {coverage_key("local_clouds"): share[:, :1]}
    write_tensors(root / "a" / LATENTS, stored | odd, {})
    with pytest.raises(BadClip, match="coverage of the tokens"):
        LatentClips(root)[0]


def test_quarantine_leaves_out_and_tells(root):
    write_quarantine(root, {"b": "blurred", "elsewhere": "unknown"})
    clips = LatentClips(root)
    assert clips.quarantined == {"b": "blurred"} and len(clips) == 2
    assert len(LatentClips(root, quarantine={})) == 3
    write_quarantine(root, dict.fromkeys("abc", "blurred"))
    with pytest.raises(ValueError, match="0 clips, because all 3 are in quarantine .a: blurred"):
        LatentClips(root)


def scaled_unit(clip):
    with np.load(clip / "cameras.npz") as stored:
        arrays = dict(stored)
    np.savez(clip / "cameras.npz", **{**arrays, "unit": np.array(0.0)})


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda c: (c / LATENTS).unlink(), "latents.safetensors is missing"),
        (lambda c: (c / LATENTS).write_bytes(b"1234"), "latents.safetensors cannot be read"),
        (lambda c: (c / "caption.safetensors").unlink(), "caption.safetensors is missing"),
        (lambda c: (c / "cameras.npz").unlink(), "cameras.npz is missing"),
        (scaled_unit, "unit is 0.0, which is not positive"),
        (
            lambda c: write_tensors(
                c / LATENTS, latents() | {"target": torch.zeros(2, 4, 4, 6)}, {}
            ),
            r"first frame's latents: got shape \(1, 4, 4, 8\), expected \(1, 4, 4, 6\)",
        ),
        (
            lambda c: write_tensors(c / LATENTS, latents() | {"target": torch.zeros(4, 4, 8)}, {}),
            "latents .t, C, h, w.*have shapes",
        ),
        (
            lambda c: write_tensors(
                c / LATENTS,
                {
                    k: v.repeat_interleave(2, -4 if v.ndim > 3 else 0)[..., :, :]
                    for k, v in latents().items()
                },
                {},
            ),
            "got shape|do not fit",
        ),
    ],
)
def test_a_damaged_clip_raises_with_its_path(root, damage, message):
    damage(root / "a")
    clips = LatentClips(root)
    with pytest.raises(BadClip, match=message) as caught:
        clips[0]
    assert caught.value.path == root / "a"
    assert clips[1].name.endswith("b")


def test_anchors_that_were_not_prepared_are_asked_for(made):
    with pytest.raises(BadClip, match="lacks .*anchors.global_cloud.*it holds"):
        LatentClips(made, memory="global_cloud")[0]

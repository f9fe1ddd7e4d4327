import json
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from anchorweave.datasets.doctor import empty_prompt_problem, examine
from anchorweave.datasets.encoded_clip import write_tensors
from anchorweave.datasets.layout import LATENTS
from anchorweave.video import write_video
from tests.datasets.small_clips import FRAMES, MADE, SIZE, latents, write_clip
from tests.datasets.test_released_layout import write_released

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for seed, name in enumerate(NAMES):
        write_clip(root, name, seed, MADE | {"start": seed})
    return root


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "data")


def problems(root, **options):
    return {verdict.name: " | ".join(verdict.problems) for verdict in examine(root, **options)}


def test_good_clips_have_no_problem_and_their_coverage(made):
    verdicts = examine(made)
    assert [verdict.name for verdict in verdicts] == list(NAMES)
    for verdict in verdicts:
        assert verdict.problems == () and verdict.shape == (2, 4, 4, 8)
        assert verdict.coverage == {"local_clouds": 0.5}
    assert empty_prompt_problem(made) is None
    assert "see 50.00% of the target" in problems(made, min_coverage=0.6)["a"]


def nan(clip):
    values = latents() | {"image": torch.full((1, 4, 4, 8), float("nan"))}
    save_file(values, clip / LATENTS, metadata={"made": '{"vae": "v"}'})


def blind(clip):
    shape = np.array([2, 5, 32, 64])
    bits = np.packbits(np.zeros(shape, bool))
    np.savez_compressed(clip / "anchors/local_clouds/visible.npz", bits=bits, shape=shape)


@pytest.mark.parametrize(
    "damage, message",
    [
        (nan, "not finite"),
        (blind, "anchors of local_clouds see 0.00%"),
        (lambda c: (c / LATENTS).unlink(), "latents.safetensors is missing"),
        (lambda c: (c / LATENTS).write_bytes(b"12345678901"), "latents.safetensors cannot be read"),
        (lambda c: (c / "video.mp4").write_bytes(b"no video"), "video.mp4 cannot be read"),
        (lambda c: (c / "captions/caption.txt").unlink(), "caption.txt is missing"),
        (lambda c: (c / "captions/caption.txt").write_text("new"), "caption changed after it was"),
        (lambda c: (c / "clip.json").write_text("{"), "clip.json cannot be read"),
        (lambda c: (c / "anchors/local_clouds/anchor_1.mp4").unlink(), "anchor_1.mp4 is missing"),
        (
            lambda c: shutil.copy(c.parent / "other.mp4", c / "video.mp4"),
            r"video.mp4 is \(3, 16, 32\) .*expected \(5, 32, 64\)",
        ),
        (
            lambda c: write_tensors(c / LATENTS, latents(), {"vae": "other"}),
            "latents.safetensors was made with other settings than most: vae: 'other' there, 'v'",
        ),
    ],
)
def test_damage_of_one_clip_is_its_verdict_alone(root, damage, message):
    write_video(root / "other.mp4", torch.zeros(3, 3, 16, 32))
    damage(root / "b")
    found = problems(root)
    assert found["a"] == found["c"] == ""
    assert re.search(message, found["b"])


def test_a_clip_of_another_config_is_outvoted(made, tmp_path):
    root = shutil.copytree(made, tmp_path / "data")
    shutil.rmtree(root / "b")
    write_clip(root, "b", 1, MADE | {"frames": 9})
    found = problems(root)
    assert "clip.json was made with other settings than most: frames: 9 there, 5 now" in found["b"]
    assert found["a"] == found["c"] == ""


def test_a_system_without_anchors_is_judged_by_its_references(tmp_path):
    path = write_clip(tmp_path, "a", encoded=False)
    shutil.copytree(path / "anchors/local_clouds", path / "anchors/frames")
    for video in (path / "anchors/frames").glob("*.mp4"):
        video.unlink()
    T, (H, W) = FRAMES, SIZE
    np.savez(path / "anchors/frames/visible.npz", bits=np.zeros(0, np.uint8), shape=(0, T, H, W))
    with np.load(path / "cameras.npz") as stored:
        arrays = dict(stored)
    arrays["target2source.frames"] = arrays["target2source.local_clouds"][:0]
    arrays["reference2first.frames"] = arrays["reference2first.local_clouds"]
    np.savez(path / "cameras.npz", **arrays)
    record = json.loads((path / "clip.json").read_text())
    kept = {key: value for key, value in record.items() if key not in ("sum", "sums")}
    (path / "clip.json").write_text(json.dumps(kept))
    (nothing,) = examine(tmp_path)
    assert "references/frames/000.png" in " ".join(nothing.problems)
    shutil.copytree(path / "references/local_clouds", path / "references/frames")
    (whole,) = examine(tmp_path)
    assert whole.problems == () and whole.coverage["frames"] == 0


def test_a_file_that_is_not_the_one_that_was_prepared_is_named(tmp_path):
    path = write_clip(tmp_path, "a")
    (whole,) = examine(tmp_path)
    assert whole.problems == () and whole.summed
    with np.load(path / "cameras.npz") as stored:
        arrays = dict(stored)
    np.savez(path / "cameras.npz", **{**arrays, "unit": arrays["unit"] * 2})
    (other,) = examine(tmp_path)
    assert other.problems and all(
        "cameras.npz has changed since it was prepared" in p for p in other.problems
    )


def test_before_precomputing_pixels_are_judged_alone(tmp_path):
    write_clip(tmp_path, "a", encoded=False)
    (verdict,) = examine(tmp_path)
    assert verdict.problems == () and verdict.shape is None
    assert "empty_caption.safetensors is missing" in empty_prompt_problem(tmp_path)


def test_the_released_layout_is_examined_as_well(tmp_path):
    root = write_released(tmp_path / "released")
    (root / "RealEstate10K_cd" / "latents_cogvideox" / "GT.pt").write_bytes(b"")
    found = problems(root)
    assert found["DL3DV-10K_ab_0"] == "" and "GT.pt cannot be read" in found["RealEstate10K_cd"]


def test_nothing_to_examine_says_why(tmp_path):
    with pytest.raises(ValueError, match="0 clips; looked for"):
        examine(tmp_path)

"""A row of a table: a video for every clip and seed, and what they are measured by."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import inference.generate as generate
from anchorweave.config import load_config
from anchorweave.holes import fill_holes
from inference.evaluation.cached_row import CachedRow
from inference.evaluation.config import EvaluationConfig, noise_seed
from inference.generate import main
from tests.alike import alike
from tests.inference import small_rows

rooms, networks, words = small_rows.rooms, small_rows.networks, small_rows.words


def test_a_row_holds_every_clip_and_seed_and_what_they_are_measured_by(words, tmp_path):
    main([*words, "samples=2", "batch=2"])
    row = CachedRow(tmp_path / "partial_revisit" / "here")
    assert row.record()["clips"] == ["one", "two"] and row.record()["seeds"] == [0, 1]
    assert row.record()["command"].startswith("python -m inference.generate config=")
    videos = [row.read_sample(clip, seed)[0] for clip in ("one", "two") for seed in (0, 1)]
    assert all(video.shape == (5, 3, 32, 64) for video in videos)
    # Every clip and every seed has noise of its own.
    assert all(not alike(videos[0], other) for other in videos[1:])
    given = row.read_given("one")
    assert (given.truth[given.shown.nonzero()[0, 0]] > 0).any()
    difference = (given.anchors - given.truth).abs().amax(dim=1)
    assert difference[given.shown].mean() < 0.1
    assert given.shown.float().mean() > 0.5
    assert {p.name for p in row.path.iterdir()} == {
        "one", "two", "row.json", "config.yaml", "montage.mp4", "montage.png",
    }  # fmt: skip


def test_the_batch_changes_nothing_and_what_is_there_is_not_made_again(
    words, tmp_path, monkeypatch
):
    main([*words, "batch=2"])
    main([*words, "row=alone", "batch=1"])
    rows = [CachedRow(tmp_path / "partial_revisit" / name) for name in ("here", "alone")]
    for clip in ("one", "two"):
        one, other = (row.read_sample(clip, 0)[0] for row in rows)
        torch.testing.assert_close(one, other, atol=1 / 255 + 1e-6, rtol=0)
    monkeypatch.setattr(generate, "_videos", None)
    monkeypatch.setattr(generate, "hold_out", None)
    main([*words, "batch=2"])


def test_only_what_is_missing_is_made_and_it_is_the_same(words, tmp_path):
    main([*words, "batch=2", "samples=2"])
    row = CachedRow(tmp_path / "partial_revisit" / "here")
    there = row.read_sample("two", 1)[0]
    kept = row.path / "one" / "sample_0000.npz"
    before = kept.stat().st_mtime_ns
    (row.path / "two" / "sample_0001.npz").unlink()
    main([*words, "batch=2", "samples=2"])
    # Alone in its batch this time, so rounded otherwise.
    torch.testing.assert_close(row.read_sample("two", 1)[0], there, atol=1 / 255 + 1e-6, rtol=0)
    assert kept.stat().st_mtime_ns == before


def test_rows_without_noise(words, tmp_path):
    rows = {name: CachedRow(tmp_path / "partial_revisit" / name) for name in "abcde"}
    main([*words, "row=a", "method=copy_anchors"])
    given = rows["a"].read_given("one")
    assert torch.equal(rows["a"].read_sample("one", 0)[0], given.anchors)
    # As it was before there was a choice.
    assert "holes" not in rows["a"].record()["made"]
    main([*words, "row=e", "method=copy_anchors", "holes=filled"])
    filled = fill_holes(given.anchors, given.shown, "filled")
    torch.testing.assert_close(
        rows["e"].read_sample("one", 0)[0], filled, atol=1 / 255 + 1e-6, rtol=0
    )
    assert rows["e"].record()["made"]["holes"] == "filled" and not given.shown.all()
    main([*words, "row=b", "method=first_frame"])
    still = rows["b"].read_sample("one", 0)[0]
    assert torch.equal(still, given.truth[:1].expand_as(still))
    main([*words, "row=c", "method=vae"])
    assert rows["c"].read_sample("one", 0)[0].shape == given.truth.shape
    assert "weights.vae" in rows["c"].record()["made"]
    assert not any(key.startswith("sampling") for key in rows["c"].record()["made"])
    main([*words, "row=d", "method=copy_anchors", "retrieval.anchors=1", "retrieval.forced=none"])
    assert rows["d"].read_given("one").shown.sum() < given.shown.sum()


def test_without_memory_the_backbone_runs_alone(words, networks, tmp_path):
    pipe = networks[0]
    # Any controller, however large what it adds.
    before = {name: value.clone() for name, value in pipe.controller.state_dict().items()}
    for project in pipe.controller.control_proj:
        torch.nn.init.normal_(project.weight)
    config = load_config(EvaluationConfig, words)
    clip = generate.hold_out(config, "one", f"{config.source}/one")
    row = CachedRow(tmp_path / "row")
    row.begin({}, ["one"], [0], "")
    known = generate._retrieve(config, row, clip)
    first = clip.truth.frames[0]

    def video(**weights):
        call = generate.make_batch_generator(pipe, replace(config.sampling, **weights))
        return call([first], [""], [known], [3])

    alone, woven = video(control_weight=0.0, camera_weight=0.0), video()
    pipe.controller.load_state_dict(before)
    plain = pipe(
        image=first, prompt="", height=32, width=64, num_frames=5, num_inference_steps=2,
        guidance_scale=1, use_dynamic_cfg=True, generator=torch.Generator().manual_seed(3),
        output_type="pt",
    ).frames  # fmt: skip
    torch.testing.assert_close(alone, plain)
    assert not torch.allclose(woven, alone, atol=1e-3)


def test_what_stands_behind_what_the_target_sees_is_not_shown(words):
    config = load_config(EvaluationConfig, words)
    clip = generate.hold_out(config, "one", config.source + "/one")
    assert clip.only_memory(config.memory.depth_edge).any()
    nearer = replace(clip, truth=replace(clip.truth, depth=0.5 * clip.truth.depth))
    assert not nearer.only_memory(config.memory.depth_edge).any()


def test_only_memory_is_what_history_shows_and_the_first_frame_does_not(words):
    config = load_config(EvaluationConfig, words)
    clip = generate.hold_out(config, "one", config.source + "/one")
    mask = clip.only_memory(config.memory.depth_edge)
    assert mask.shape == (5, 32, 64)
    # The first camera sees nothing that its own frame does not; the last one turned to the right.
    assert mask[0].float().mean() < 0.02
    assert mask[4, :, 48:].float().mean() > 0.5 > mask[4, :, :16].float().mean()
    alone = replace(clip, seen=clip.seen[-1:])
    assert not alone.only_memory(config.memory.depth_edge).any()


def test_a_closed_loop_comes_back_along_the_recorded_cameras(words, tmp_path):
    loop = ["protocol=closed_loop", "rollout.segments=3"]
    main([*words, *loop, "rollout.trajectory=there_and_back(recorded)", f"source={_one(words)}"])
    row = CachedRow(tmp_path / "closed_loop" / "here")
    video, seconds = row.read_sample("one", 0)
    truth = row.read_given("one").truth
    assert video.shape == truth.shape == (13, 3, 32, 64) and seconds > 0
    assert torch.equal(truth[0], truth[-1]) and torch.equal(truth[5], truth[7])
    assert not torch.equal(truth[0], truth[6])
    torch.testing.assert_close(video[0], truth[0], atol=1 / 255 + 1e-6, rtol=0)
    with np.load(row.path / "one" / "sample_0000.npz") as file:
        assert len(json.loads(str(file["report"]))) == 3


def test_along_another_path_the_truth_is_not_known(words, tmp_path):
    path = "rollout.trajectory=there_and_back(dolly(distance=0.2))"
    loop = ["protocol=closed_loop", "rollout.segments=1"]
    main([*words, *loop, path, f"source={_one(words)}"])
    assert CachedRow(tmp_path / "closed_loop" / "here").read_given("one").truth is None


@pytest.mark.parametrize(
    "more, message",
    [
        (["row=a/b"], "without slashes"),
        (["row=a\x1b[31mb"], "printable"),
        (["samples=0"], "samples=0"),
        (["batch=0"], "batch=0"),
        (["method=vae", "samples=2"], "uses no noise"),
        (["method=first_frame", "protocol=closed_loop"], "only generate can"),
        (["memory.path=somewhere"], "its own memory"),
        (["method=generate", "holes=filled"], "holes=filled is for method=copy_anchors"),
        (["source=nowhere"], "nowhere: no such file"),
        (
            ["protocol=closed_loop", "rollout.trajectory=there_and_back(recorded)"],
            "lower rollout.segments",
        ),
    ],
)
def test_bad_input_is_refused(words, more, message):
    more = [*more, "rollout.segments=6"]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        main([*words, *more])


def test_noise_belongs_to_clip_and_seed():
    assert noise_seed(0, "a") == noise_seed(0, "a")
    assert len({noise_seed(seed, clip) for seed in (0, 1) for clip in ("a", "b")}) == 4


def test_fewer_anchors_are_filled_up_with_black_ones(words, tmp_path, monkeypatch):
    given = []

    def batch_generator(pipe, sampling):
        def generate(firsts, prompts, known, seeds):
            given.extend(len(retrieved.anchors) for retrieved in known)
            return [first.expand(5, *first.shape) for first in firsts]

        return generate

    monkeypatch.setattr(generate, "make_batch_generator", batch_generator)
    few = ["retrieval.anchors=1", "retrieval.forced=none", f"source={_one(words)}"]
    main([*words, "row=one", *few])
    main([*words, "row=filled", *few, "slots=3"])
    assert set(given) == {1, 3}


def _one(words):
    return next(word for word in words if word.startswith("source=")).partition("=")[2] + "/one"

"""Rows of a table on two small recordings, with networks of a few thousand parameters."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import inference.generate as generate
from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import FingerprintError, flat
from anchorweave.holes import fill_holes
from anchorweave.locks import FolderInUseError, in_use
from anchorweave.recordings.nerfstudio import write_recording
from anchorweave.run_config import RunConfig
from inference.evaluate import refuse_other_clips
from inference.evaluation.cached_row import CachedRow
from inference.evaluation.config import EvaluationConfig, noise_seed
from inference.generate import main
from inference.runs.generator import load_pipeline
from tests.alike import alike
from tests.rooms import look, view_room

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "evaluation"
ROWS = sorted((CONFIGS / "rows").glob("*.yaml"))
BASE = load_config(EvaluationConfig, [f"config={CONFIGS / 'anchorweave_tiny.yaml'}"])


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for name, shift in (("one", 0.0), ("two", 0.3)):
        yaws = torch.linspace(-0.4, 0.4, 10) + shift
        positions = [[0.1 * i - 0.5 + shift, 0.0, -1.0] for i in range(10)]
        write_recording(view_room(look(positions, yaws, (32, 64), 40.0)), folder / name)
    return folder


@pytest.fixture(scope="module")
def networks():
    return load_pipeline(load_config(RunConfig, ["frames=5", "size=[32,64]"]))


@pytest.fixture
def words(rooms, networks, tmp_path, monkeypatch):
    """The words of a small row; its networks are made once for all tests."""
    monkeypatch.setattr(generate, "load_pipeline", lambda config: networks)
    return [
        f"config={CONFIGS.parent / 'tiny.yaml'}",
        f"source={rooms}",
        f"output={tmp_path}",
        "row=here",
        "frames=5",
        "size=[32,64]",
        "sampling.steps=2",
        "sampling.guidance=1",
        "retrieval.chunk=2",
        "perception.plane_sweep.planes=16",
    ]


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


@pytest.mark.parametrize(
    "change, named",
    [("sampling.steps=1", "sampling.steps: 2 there, 1 now"), ("retrieval.anchors=2", "anchors")],
)
def test_videos_of_another_config_are_refused(words, tmp_path, change, named):
    main(words)
    with pytest.raises(FingerprintError, match=named):
        main([*words, change])


def test_a_row_says_what_it_starts_from_unless_that_is_noise():
    assert not any(key.startswith("sampling.start") for key in BASE.made_with(None))
    sampling = replace(BASE.sampling, start="anchors", start_share=0.5)
    made = replace(BASE, sampling=sampling).made_with(None)
    assert made["sampling.start"] == "anchors" and made["sampling.start_share"] == 0.5


def test_videos_of_other_weights_are_refused(words, networks):
    main(words)
    bias = networks[0].controller.control_proj[0].bias
    with torch.no_grad():
        bias += 1
        try:
            with pytest.raises(FingerprintError, match="weights.controller"):
                main(words)
        finally:
            bias -= 1


@pytest.mark.parametrize(
    "part, change, named",
    [
        ("vae", {"scaling_factor": 0.5}, "autoencoder.scaling_factor: .*, 0.5 now"),
        ("scheduler", {"beta_end": 0.5}, "scheduler.beta_end: .*, 0.5 now"),
    ],
)
def test_other_settings_of_the_same_weights_are_refused(words, networks, part, change, named):
    main(words)
    config, before = getattr(networks[0], part), dict(getattr(networks[0], part).config)
    config.register_to_config(**change)
    try:
        with pytest.raises(FingerprintError, match=named):
            main(words)
    finally:
        config.register_to_config(**{key: before[key] for key in change})
    main(words)


def test_another_recording_of_the_same_name_is_refused(words, rooms, tmp_path):
    def source(folder, one):
        shutil.copytree(rooms / one, tmp_path / folder / "one")
        shutil.copytree(rooms / "two", tmp_path / folder / "two")
        return f"source={tmp_path / folder}"

    asked = [word for word in words if not word.startswith("source=")]
    main([*asked, source("a", "one")])
    main([*asked, source("same", "one")])
    with pytest.raises(FingerprintError, match="recording of clip one"):
        main([*asked, source("other", "two")])
    main([*asked, f"source={tmp_path / 'other'}", "row=there"])
    rows = {name: CachedRow(tmp_path / "partial_revisit" / name) for name in ("here", "there")}
    with pytest.raises(ValueError, match="one name from different recordings.*: one;"):
        refuse_other_clips(rows)


def test_another_caption_is_another_recording(words, rooms, tmp_path):
    shutil.copytree(rooms, tmp_path / "rooms")
    words = [*words, f"source={tmp_path / 'rooms'}"]
    main(words)
    (tmp_path / "rooms/two/caption.txt").write_text("a blue room")
    with pytest.raises(FingerprintError, match="recording of clip two"):
        main(words)


def test_what_a_clip_is_measured_by_is_of_its_row(words, tmp_path):
    main(words)
    main([*words, "row=other", "retrieval.anchors=2"])
    rows = tmp_path / "partial_revisit"
    shutil.copyfile(rows / "other/one/given.npz", rows / "here/one/given.npz")
    with pytest.raises(FingerprintError, match="given.npz does not match"):
        CachedRow(rows / "here").read_given("one")


def test_a_clip_that_is_not_asked_for_any_more_is_said(words, rooms, capsys):
    main(words)
    main([*words, f"source={rooms / 'one'}"])
    assert "had 1 clips that are no longer requested" in capsys.readouterr().out


def test_options_of_memories_that_take_no_part_make_no_row_stale(words, tmp_path):
    main(words)
    record = tmp_path / "partial_revisit/here/row.json"
    made = json.loads(record.read_text())["made"]
    assert not any(key.startswith(("memory.global_cloud", "memory.posed")) for key in made)
    main([*words, "memory.global_cloud.voxel=0.5"])


def test_rows_of_version_1_are_read_and_gone_on_with(words, tmp_path, capsys):
    """As they were: every memory's options, no settings, and files without a fingerprint."""
    main([*words, "samples=2"])
    row = CachedRow(tmp_path / "partial_revisit" / "here")
    before = row.record()
    made = {
        key: value
        for key, value in before["made"].items()
        if not key.startswith(("settings.", "scheduler.", "autoencoder.", "weights.tokenizer"))
    }
    made |= {"version": 1, "memory.global_cloud.voxel": 0.01, "memory.posed_frames.context": 20}
    del before["recordings"]
    (row.path / "row.json").write_text(json.dumps({**before, "made": made}))
    for file in row.path.glob("*/*.npz"):
        with np.load(file) as stored:
            arrays = {key: stored[key] for key in stored.files if key != "made"}
        np.savez_compressed(file, **arrays)
    (row.path / "two/sample_0001.npz").unlink()
    capsys.readouterr()
    main([*words, "samples=2"])
    assert (
        "started by an earlier version, which did not record autoencoder" in capsys.readouterr().out
    )
    assert row.record()["made"] == made
    assert row.read_sample("two", 1)[0].shape == row.read_given("two").truth.shape
    with pytest.raises(FingerprintError, match="sampling.steps"):
        main([*words, "samples=2", "sampling.steps=1"])


def test_a_row_knows_the_holes_that_its_controller_is_for(words, networks, tmp_path):
    main(words)
    assert "controller_holes" not in CachedRow(tmp_path / "partial_revisit/here").record()["made"]
    controller = networks[0].controller
    controller.register_to_config(holes="filled")
    try:
        with pytest.raises(FingerprintError, match="controller_holes: .*, 'filled' now"):
            main(words)
    finally:
        controller.register_to_config(holes="black")


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


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.stem)
def test_a_row_differs_from_its_base_only_in_what_it_names(path):
    config = load_config(EvaluationConfig, [f"config={path}"])
    lines = path.read_text().splitlines()
    assert len(lines) <= 15 and config.row == path.stem
    assert lines[0] == f"# python -m inference.generate config=configs/evaluation/rows/{path.name}"
    named = yaml.safe_load(path.read_text())
    base = load_config(EvaluationConfig, [f"config={path.parent / named.pop('base')}"])
    base, values = flat(asdict(base)), flat(asdict(config))
    differ = {key for key in values if values[key] != base[key]}
    # k4 says what its neighbours change.
    assert "row" in differ and differ <= flat(named).keys()


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


def test_there_is_a_row_for_every_line_of_the_table():
    assert {path.stem for path in ROWS} == {
        "no_memory", "k1", "k2", "k4", "global_cloud", "average_fusion", "separate_attention",
        "overlap_ranked", "vae", "copy_best_anchor", "composite_anchors", "first_frame", "local",
        "local_k1", "composite_filled",
        "camera_only",
    }  # fmt: skip


def _one(words):
    return next(word for word in words if word.startswith("source=")).partition("=")[2] + "/one"


@pytest.mark.parametrize("harm", ["flip", "cut", "bytes", "list"])
def test_a_damaged_record_of_a_row_is_named(tmp_path, harm):
    row = CachedRow(tmp_path / "row")
    row.begin({"sampling.steps": 2}, ["one"], [0], "python")
    file = row.path / "row.json"
    stored = file.read_bytes()
    assert b'"one"' in stored
    file.write_bytes(
        {
            "flip": stored.replace(b'"one"', b'"ona"'),
            "cut": stored[:20],
            "bytes": b"\xff" + stored,
            "list": b"[]",
        }[harm]
    )
    with pytest.raises(ValueError, match="row.json was changed since it was written"):
        row.record()
    file.write_bytes(stored)
    assert row.record()["clips"] == ["one"]
    # An earlier version kept no sum.
    values = json.loads(stored)
    del values["sum"]
    file.write_text(json.dumps(values))
    assert row.record()["made"] == {"sampling.steps": 2}


def test_a_row_that_another_run_makes_is_left_alone(words, tmp_path):
    folder = tmp_path / "partial_revisit" / "here"
    with in_use(folder), pytest.raises(FolderInUseError, match="here is in use by"):
        main(words)
    assert not folder.exists()

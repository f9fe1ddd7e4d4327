"""What the videos of a row depend on: other settings, weights or recordings are refused by name."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from anchorweave.datasets.fingerprint import FingerprintError
from anchorweave.locks import FolderInUseError, in_use
from inference.evaluate import refuse_other_clips
from inference.evaluation.cached_row import CachedRow
from inference.generate import main
from tests.inference import small_rows

rooms, networks, words = small_rows.rooms, small_rows.networks, small_rows.words


@pytest.mark.parametrize(
    "change, named",
    [("sampling.steps=1", "sampling.steps: 2 there, 1 now"), ("retrieval.anchors=2", "anchors")],
)
def test_videos_of_another_config_are_refused(words, tmp_path, change, named):
    main(words)
    with pytest.raises(FingerprintError, match=named):
        main([*words, change])


def test_a_row_says_what_it_starts_from_unless_that_is_noise():
    assert not any(key.startswith("sampling.start") for key in small_rows.BASE.made_with(None))
    sampling = replace(small_rows.BASE.sampling, start="anchors", start_share=0.5)
    made = replace(small_rows.BASE, sampling=sampling).made_with(None)
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

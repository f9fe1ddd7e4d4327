"""Camera numbers of cached videos: what is kept, when it is made anew, and how failures count."""

import json
import sys
from importlib.util import find_spec

import pytest
import torch

from anchorweave.evaluation.camera_estimate import EstimatedCameras, EstimationConfig
from anchorweave.evaluation.estimated_cameras import MissingPycolmapError
from inference.evaluate import main
from inference.evaluation import camera_scores
from inference.evaluation.cached_row import CachedRow, EvaluationTarget
from inference.evaluation.camera_scores import camera_values, estimate_missing, kept_cameras
from tests.evaluation.test_estimated_cameras import filmed, walk
from tests.rooms import look

CONFIG = EstimationConfig()
UNIT = 2.0


def known(cameras, registered=None, turned=None):
    """Cameras as if estimated without error, in a world of half the size."""
    c2w = cameras.c2w.double()
    turns = c2w[:-1, :3, :3].mT @ c2w[1:, :3, :3]
    c2w[:, :3, 3] /= 2
    every = torch.ones(len(c2w), dtype=torch.bool)
    registered = every if registered is None else registered
    return EstimatedCameras(c2w, registered, turns, every[1:] if turned is None else turned)


def bent(count=8):
    steps = torch.linspace(0, 1, count)
    return look(torch.stack([steps, 0 * steps, (3 * steps).sin()], dim=-1), steps, (16, 24))


def given_of(cameras):
    return EvaluationTarget(None, None, None, None, 0.0, cameras, UNIT)


def write_row(folder, frozen=False, cameras=True, name="row"):
    video, path = walk()
    made = {"protocol": "partial_revisit", "frames": len(video), "size": list(path.size)}
    row = CachedRow(folder / name)
    row.begin({**made, "name": name}, ["a"], [0], "python")
    every = torch.ones(len(video), *path.size, dtype=torch.bool)
    keeps = (path, UNIT) if cameras else ()
    row.write_given("a", EvaluationTarget(video, video, every, every, 0.0, *keeps), [])
    row.write_sample("a", 0, video[:1].expand_as(video) if frozen else video, 1.0)
    return row


def test_cameras_without_error():
    values = camera_values(known(bent()), given_of(bent()), CONFIG)
    assert values["camera_failed"] == values["rotation_failed"] == 0
    assert values["camera_frames"] == 1 and values["rotation_kept"] == pytest.approx(1)
    assert values["camera_rotation"] < 1e-3 and values["camera_translation"] < 1e-5
    assert values["camera_translation_share"] < 1e-5


def test_lengths_are_scene_units():
    cameras = bent()
    estimated = known(cameras)
    # A camera in the middle of nowhere: far off, in whatever unit.
    estimated.c2w[4, :3, 3] += 1.0
    values = camera_values(estimated, given_of(cameras), CONFIG)
    other = camera_values(
        estimated, EvaluationTarget(None, None, None, None, 0.0, cameras, 4.0), CONFIG
    )
    assert values["camera_translation"] == pytest.approx(2 * other["camera_translation"])
    assert values["camera_translation_share"] == other["camera_translation_share"] > 0.01


def test_the_world_is_aligned_as_the_config_says():
    cameras = bent()
    estimated = known(cameras)
    # Every camera looks 10 degrees aside of where it should: the world has not turned.
    aside = look([[0.0, 0.0, 0.0]], [0.1745]).c2w[0, :3, :3].double()
    estimated.c2w[:, :3, :3] = aside @ estimated.c2w[:, :3, :3]
    for by, degrees in (("centres", 10), ("orientations", 0)):
        values = camera_values(estimated, given_of(cameras), EstimationConfig(align=by))
        assert values["camera_rotation"] == pytest.approx(degrees, abs=0.01)


def test_a_failed_video_has_its_failure_and_no_error():
    registered = torch.arange(8) < 3
    values = camera_values(known(bent(), registered), given_of(bent()), CONFIG)
    assert values["camera_failed"] == 1 and values["camera_frames"] == 3 / 8
    assert "camera_rotation" not in values and values["rotation_kept"] == pytest.approx(1)
    nothing = camera_values(known(bent(), registered, registered[1:]), given_of(bent()), CONFIG)
    assert nothing["rotation_failed"] == 1 and "rotation_kept" not in nothing


def test_a_turn_on_the_spot_is_measured_by_its_turns():
    spot = look([[0.5, 0.0, 1.0]] * 8, torch.linspace(0, 1, 8), (16, 24))
    none = torch.zeros(8, dtype=torch.bool)
    values = camera_values(known(spot, none), given_of(spot), CONFIG)
    assert values["camera_failed"] == 0 and values["camera_rotation"] < 1e-3
    assert "camera_translation" not in values


def test_a_row_that_keeps_no_cameras_says_what_to_do(tmp_path):
    row = write_row(tmp_path, cameras=False)
    with pytest.raises(
        ValueError, match="does not store the requested cameras.* regenerate the row"
    ):
        kept_cameras(row)


def test_without_pycolmap_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(MissingPycolmapError, match="requirements.txt"):
        main([f"rows=[{write_row(tmp_path).path}]", f"output={tmp_path / 'out'}", "cameras=true"])
    assert not (tmp_path / "out").exists()


def test_cameras_are_estimated_once_and_anew_for_other_frames(tmp_path, monkeypatch):
    calls = []

    def estimate(video, cameras, config):
        calls.append(config)
        return known(cameras, torch.arange(len(video)) % 3 > 0)

    monkeypatch.setattr(camera_scores, "estimate_cameras", estimate)
    monkeypatch.setattr(camera_scores, "pycolmap_version", lambda: "0")
    row = write_row(tmp_path)
    (kept,) = kept_cameras(row)
    estimate_missing([kept], CONFIG, 1)
    estimate_missing([kept], CONFIG, 1)
    assert len(calls) == 1
    # What counts as failed is asked when results are read, not when cameras are estimated.
    assert kept.read(EstimationConfig(min_registered=0.9, align="centres")) is not None
    found, cameras = kept.read(CONFIG), walk()[1]
    expected = known(cameras, torch.arange(len(cameras)) % 3 > 0)
    assert torch.equal(found.registered, expected.registered)
    there = found.registered
    torch.testing.assert_close(found.c2w[there], expected.c2w[there])
    torch.testing.assert_close(found.turns, expected.turns)
    assert kept.read(EstimationConfig(seed=1)) is None
    monkeypatch.setattr(camera_scores, "VERSION", -1)
    assert kept.read(CONFIG) is None
    monkeypatch.undo()
    row.write_sample("a", 0, torch.zeros(7, 3, 64, 96), 1.0)
    assert kept.read(CONFIG) is None


@pytest.mark.parametrize("processes", [1, 2])
def test_evaluate_counts_the_frozen_video_as_failed(tmp_path, processes):
    if find_spec("pycolmap") is None:
        pytest.skip("no pycolmap")
    write_row(tmp_path / "rows", name="moves")
    write_row(tmp_path / "rows", frozen=True, name="stands")
    words = [f"rows={tmp_path / 'rows'}", f"output={tmp_path / 'out'}", "cameras=true"]
    main([*words, "truth=true", f"processes={processes}"])
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {
        name: {metric: value["mean"] for metric, value in row["metrics"].items()}
        for name, row in results["rows"].items()
    }
    assert results["estimate"]["shorter_side"] == CONFIG.shorter_side
    assert rows["moves"]["camera_failed"] == 0 and rows["moves"]["camera_rotation"] < 1
    assert rows["stands"]["camera_failed"] == 1 and "camera_rotation" not in rows["stands"]
    assert rows["stands"]["rotation_kept"] < 0.01 and rows["stands"]["motion_energy"] == 0
    # The video that moves is the truth: whatever errs of it is the estimate.
    same = ("psnr", "camera_rotation", "camera_translation", "rotation_kept", "motion_energy")
    for metric in same:
        assert rows["truth"][metric] == pytest.approx(rows["moves"][metric], rel=1e-6), metric
    assert (rows["truth"]["psnr"], rows["truth"]["motion_energy"]) == (100, 1)


def test_the_room_is_not_the_same_from_everywhere():
    video, _ = filmed([[0.0, 0.0, -1.5], [0.4, 0.0, -1.5]], [0.0, 0.0])
    assert (video[0] - video[1]).abs().mean() > 0.03

"""The table of rows that were written by hand, so that every number is known."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from anchorweave.datasets.fingerprint import FingerprintError
from anchorweave.geometry.cameras import Cameras, intrinsics
from inference.evaluate import main
from inference.evaluation.cached_row import CachedRow, EvaluationTarget

MADE = {"protocol": "partial_revisit", "frames": 5, "size": [16, 24], "memory.kind": "x"}
SHAPE = (5, 3, 16, 24)


def write_row(folder, name, error, seeds=(0, 1), clips=("a", "b", "c"), made_as=None, **made):
    """A row whose videos are off by `error` levels of 255 (one more for every further clip)."""
    made = {**MADE, "name": made_as or name, **made}
    row = CachedRow(folder / name)
    row.begin(made, clips, seeds, f"python -m generate {name}")
    shown = torch.zeros(5, 16, 24, dtype=torch.bool)
    shown[:, :, :12] = True
    only_memory = torch.zeros_like(shown)
    only_memory[1:, :, 4:8] = True
    for number, clip in enumerate(clips):
        truth = torch.full(SHAPE, 100 / 255) + torch.rand(SHAPE, generator=_seed(number)) / 4
        truth = (truth * 255).round() / 255
        row.write_given(clip, EvaluationTarget(truth, truth, shown, only_memory, 1.0), [])
        for seed in seeds:
            video = truth + (error + number) / 255
            video[0] = 0
            video[:, :, :, 12:] = (video + 20 / 255)[:, :, :, 12:]
            row.write_sample(clip, seed, video, 0.5 + seed)
    return row


def _seed(number):
    return torch.Generator().manual_seed(number)


@pytest.fixture
def rows(tmp_path):
    write_row(tmp_path / "rows", "good", 2)
    write_row(tmp_path / "rows", "bad", 8)
    return tmp_path


def measure(folder, *words):
    main([f"rows={folder / 'rows'}", f"output={folder / 'out'}", "resamples=200", *words])
    return json.loads((folder / "out" / "results.json").read_text())


def decibel(level):
    return -20 * torch.log10(torch.tensor(level / 255)).item()


def test_the_numbers_are_those_of_the_videos(rows):
    results = measure(rows)
    good = results["rows"]["good"]
    # Off by 2, 3 and 4 levels where anchors show; frame 0 is given and is not measured.
    expected = sum(decibel(level) for level in (2, 3, 4)) / 3
    shown = good["metrics"]["psnr_shown"]
    assert shown["mean"] == pytest.approx(expected, abs=0.01)
    assert good["metrics"]["psnr_only_memory"]["mean"] == pytest.approx(expected, abs=0.01)
    assert shown["low"] == pytest.approx(decibel(4), abs=0.01) and shown["clips"] == 3
    assert good["metrics"]["psnr"]["mean"] < expected - 3
    assert 0.5 < good["metrics"]["ssim"]["mean"] < good["metrics"]["ssim_shown"]["mean"] <= 1
    assert (good["clips"], good["seeds"], good["missing"]) == (3, [0, 1], [])
    assert good["seconds_per_video"] == pytest.approx(2.0)
    assert good["command"] == "python -m generate good" and good["fingerprint"]
    assert [round(part["mean"], 3) for part in good["drift_psnr"]] == pytest.approx(
        [good["metrics"]["psnr"]["mean"]] * 4, abs=0.01
    )
    assert results["command"].startswith("python -m inference.evaluate rows=")


def test_two_rows_are_compared_clip_by_clip(rows):
    results = measure(rows, "against=bad")
    assert list(results["differences"]) == ["good"]
    difference = results["differences"]["good"]["psnr_only_memory"]
    assert "psnr_shown" not in results["differences"]["good"], "over other pixels in every row"
    expected = sum(decibel(2 + i) - decibel(8 + i) for i in range(3)) / 3
    assert difference["mean"] == pytest.approx(expected, abs=0.01)
    assert difference["low"] > 5
    text = (rows / "out" / "table.md").read_text()
    assert "PSNR, all pixels, minus bad's (dB)" in text and "| +" in text.splitlines()[3]


def test_table_videos_and_plot_are_written(rows):
    measure(rows)
    lines = (rows / "out" / "table.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["row", "---", "bad", "good"]
    assert len({line.count("|") for line in lines}) == 1 and "3 x 2" in lines[2]
    videos = list(csv.DictReader((rows / "out" / "videos.csv").open()))
    assert len(videos) == 12 and {video["seed"] for video in videos} == {"0", "1"}
    assert float(videos[0]["psnr"]) > 0 and videos[0]["psnr_loop"] == ""
    assert Image.open(rows / "out" / "drift.png").size[0] > 100


def test_missing_videos_are_listed_and_the_rest_is_measured(rows, capsys):
    (rows / "rows" / "good" / "b" / "sample_0001.npz").unlink()
    (rows / "rows" / "good" / "c" / "given.npz").unlink()
    with pytest.raises(SystemExit, match="videos are missing in: good"):
        measure(rows)
    good = json.loads((rows / "out" / "results.json").read_text())["rows"]["good"]
    assert good["missing"] == ["b, seed 1", "c, seed 0", "c, seed 1"] and good["clips"] == 2
    assert "good lacks 3 videos: b, seed 1; c, seed 0; c, seed 1" in capsys.readouterr().out


def test_rows_of_other_clips_cannot_stand_in_one_table(rows):
    record = rows / "rows" / "bad" / "row.json"
    there = json.loads(record.read_text())
    # Without its sum, as in a row of an earlier version.
    del there["sum"]
    record.write_text(json.dumps(there | {"clips": there["clips"][:2]}))
    with pytest.raises(ValueError, match="different clips"):
        measure(rows)


def test_a_row_without_any_video_ends_with_an_error_after_the_others(rows):
    for file in (rows / "rows" / "bad").glob("*/sample_*.npz"):
        file.unlink()
    with pytest.raises(SystemExit, match="videos are missing in: bad"):
        measure(rows)
    results = json.loads((rows / "out" / "results.json").read_text())
    assert results["rows"]["bad"]["metrics"] == {} and results["rows"]["good"]["metrics"]
    assert "| bad | - |" in (rows / "out" / "table.md").read_text()


def test_a_mask_without_a_pixel_is_no_number(rows):
    row = CachedRow(rows / "rows" / "good")
    given = row.read_given("a")
    nothing = torch.zeros_like(given.shown)
    row.write_given(
        "a", EvaluationTarget(given.truth, given.anchors, given.shown, nothing, 1.0), []
    )
    good = measure(rows)["rows"]["good"]["metrics"]
    assert (good["psnr"]["clips"], good["psnr_only_memory"]["clips"]) == (3, 2)


def test_a_closed_loop_drifts_over_its_segments(tmp_path):
    row = CachedRow(tmp_path / "rows" / "loop")
    row.begin({**MADE, "protocol": "closed_loop"}, ["a", "b"], [0], "python")
    truth = torch.full((9, 3, 16, 24), 0.5)
    truth = (truth * 255).round() / 255
    video = truth.clone()
    video[1:5] += 2 / 255
    video[5:] += 8 / 255
    row.write_given("a", EvaluationTarget(truth, None, None, None, 0.0), [])
    row.write_given("b", EvaluationTarget(None, None, None, None, 0.0), [])
    for clip in ("a", "b"):
        row.write_sample(clip, 0, video, 1.0)
    results = measure(tmp_path)["rows"]["loop"]
    drift = [part["mean"] for part in results["drift_psnr"]]
    assert drift == pytest.approx([decibel(2), decibel(8)], abs=0.01)
    assert results["metrics"]["psnr_loop"]["mean"] == pytest.approx(decibel(8), abs=0.01)
    # Along a path whose truth is not known there is only the loop.
    assert (results["metrics"]["psnr_loop"]["clips"], results["metrics"]["psnr"]["clips"]) == (2, 1)


def test_rows_that_were_asked_otherwise_do_not_share_a_table(rows):
    write_row(rows / "rows", "short", 2, frames=9)
    with pytest.raises(
        ValueError, match="bad.*short.*different evaluation settings.*frames: 5 there, 9 now"
    ):
        measure(rows)


def test_rows_may_be_listed(rows):
    listed = f"rows=[{rows / 'rows' / 'good'}]"
    main([listed, f"output={rows / 'out'}"])
    assert list(json.loads((rows / "out" / "results.json").read_text())["rows"]) == ["good"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["rows=nowhere"], "no row in it"),
        (["rows=[nowhere]"], "holds no row"),
        (["rows=[a/x,b/x]"], "two rows are called 'x'"),
        (["against=other"], "against=other is none of the rows: bad, good"),
        (["resamples=0"], "resamples=0"),
        (["processes=0"], "processes=0"),
        (["rows=[]"], "is empty"),
        (["truth=true", "against=other"], "none of the rows: bad, good, truth"),
        (["estimate.overlap=0"], "estimate.overlap=0"),
    ],
)
def test_bad_input_is_refused(rows, words, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        measure(rows, *words)
    assert not (rows / "out").exists()


LOOP = {"protocol": "closed_loop", "frames": 5, "size": [16, 24]}


def write_loop(folder, c2w, video, truth=None):
    row = CachedRow(folder / "rows" / "loop")
    row.begin(LOOP, ["a"], [0], "python")
    K = intrinsics(24.0, 24.0, 12.0, 8.0).expand(len(c2w), 3, 3)
    row.write_given(
        "a", EvaluationTarget(truth, None, None, None, 0.0, Cameras(c2w, K, (16, 24)), 1.0), []
    )
    row.write_sample("a", 0, video, 1.0)
    return row


def there_and_back():
    out = torch.eye(4).repeat(9, 1, 1)
    out[:, 0, 3] = torch.tensor([0.0, 1, 2, 3, 4, 3, 2, 1, 0])
    return out


def test_frames_of_one_pose_are_compared_on_the_way_back(tmp_path):
    video = torch.full((9, 3, 16, 24), 100 / 255)
    video[5:] += 4 / 255
    write_loop(tmp_path, there_and_back(), video)
    metrics = measure(tmp_path)["rows"]["loop"]["metrics"]
    assert metrics["psnr_paired"]["mean"] == pytest.approx(decibel(4), abs=0.01)
    assert 0.9 < metrics["ssim_paired"]["mean"] < 1


def test_a_path_that_does_not_come_back_has_no_pairs_and_no_loop(tmp_path, capsys):
    c2w = there_and_back()
    c2w[5:, 0, 3] += 0.5
    write_loop(tmp_path, c2w, torch.rand(9, 3, 16, 24), torch.rand(9, 3, 16, 24))
    metrics = measure(tmp_path)["rows"]["loop"]["metrics"]
    assert "psnr" in metrics and not {"psnr_paired", "psnr_loop"} & metrics.keys()
    assert "stores no cameras" not in capsys.readouterr().out


def test_a_loop_that_keeps_no_cameras_says_so(tmp_path, capsys):
    row = CachedRow(tmp_path / "rows" / "loop")
    row.begin(LOOP, ["a"], [0], "python")
    row.write_given("a", EvaluationTarget(None, None, None, None, 0.0), [])
    row.write_sample("a", 0, torch.zeros(9, 3, 16, 24), 1.0)
    metrics = measure(tmp_path)["rows"]["loop"]["metrics"]
    assert "psnr_loop" in metrics and "psnr_paired" not in metrics
    assert "loop stores no cameras" in capsys.readouterr().out


def test_the_truth_is_the_ceiling_of_every_metric(rows):
    results = measure(rows, "truth=true", "against=truth")
    truth = results["rows"]["truth"]
    means = {metric: value["mean"] for metric, value in truth["metrics"].items()}
    assert means["psnr"] == means["psnr_only_memory"] == 100
    assert means["ssim"] == means["motion_energy"] == pytest.approx(1)
    assert means["motion_agreement"] == pytest.approx(1) and "psnr_shown" not in means
    assert (truth["clips"], truth["seeds"], truth["missing"]) == (3, [0], [])
    assert "memory.kind" not in truth["made"] and truth["made"]["method"] == "truth"
    good = results["rows"]["good"]["metrics"]["psnr"]["mean"]
    assert results["differences"]["good"]["psnr"]["mean"] == pytest.approx(good - 100)
    assert "| truth |" in (rows / "out" / "table.md").read_text()


def test_a_truth_that_nobody_knows_is_refused(tmp_path):
    write_loop(tmp_path, there_and_back(), torch.rand(9, 3, 16, 24))
    with pytest.raises(ValueError, match="row loop has no clip with known truth"):
        measure(tmp_path, "truth=true")


def test_a_row_may_not_be_called_as_the_truth(rows):
    write_row(rows / "rows", "truth", 2)
    with pytest.raises(ValueError, match="a row with that name exists"):
        measure(rows, "truth=true")


def test_an_evaluation_of_which_all_clips_are_missing_ends_with_an_error(rows):
    for file in (rows / "rows").rglob("*.npz"):
        file.unlink()
    message = r"videos are missing in: bad, good \(no video at all of: bad, good\)"
    with pytest.raises(SystemExit, match=message):
        measure(rows)


def test_a_record_that_is_not_of_the_videos_is_refused(rows):
    record = rows / "rows" / "bad" / "row.json"
    there = json.loads(record.read_text())
    there["made"]["memory.kind"] = "another"
    del there["sum"]
    record.write_text(json.dumps(there))
    with pytest.raises(FingerprintError, match=r"bad/a/given.npz does not match"):
        measure(rows)


def test_a_config_that_is_not_of_the_record_is_refused(rows):
    config = rows / "rows" / "bad" / "config.yaml"
    config.write_text("frames: 5\nmemory: {kind: x}\nsize: [16, 24]\nbatch: 7\n")
    measure(rows)
    config.write_text("frames: 5\nmemory: {kind: y}\n")
    with pytest.raises(FingerprintError, match="(?s)config.yaml.*memory.kind: 'x' there, 'y' now"):
        measure(rows)


def test_videos_that_say_nothing_are_told_by_their_shape(rows):
    sample = rows / "rows" / "bad" / "b" / "sample_0001.npz"
    with np.load(sample) as file:
        arrays = {name: file[name] for name in file if name != "made"}
    np.savez_compressed(sample, **arrays)
    measure(rows)
    arrays["video"] = arrays["video"][:4]
    np.savez_compressed(sample, **arrays)
    with pytest.raises(ValueError, match="bad/b, seed 1 has 4 frames .* the row says frames=5"):
        measure(rows)


def test_cameras_come_back_as_they_were_kept(tmp_path):
    row = write_loop(tmp_path, there_and_back(), torch.rand(9, 3, 16, 24))
    given = row.read_given("a")
    assert torch.equal(given.cameras.c2w, there_and_back()) and given.cameras.size == (16, 24)
    assert torch.equal(given.cameras.K[0], intrinsics(24.0, 24.0, 12.0, 8.0)) and given.unit == 1


def test_rows_that_are_one_are_pointed_out(rows, capsys):
    measure(rows)
    said = "were made with the same weights, settings and seeds"
    assert said not in (rows / "out" / "table.md").read_text()
    # Whatever their names and videos.
    for name in ("again", "once_more"):
        write_row(rows / "rows", name, 2, made_as="one")
    capsys.readouterr()
    measure(rows)
    assert f"again and once_more {said}" in (rows / "out" / "table.md").read_text()
    assert said in " ".join(capsys.readouterr().out.split())


def test_a_video_that_cannot_be_read_is_named(rows):
    file = sorted(rows.rglob("sample_*.npz"))[0]
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{file} cannot be read .*remove it"):
        measure(rows)

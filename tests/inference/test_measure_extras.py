"""Optional metrics of rows that were written by hand, by small networks."""

import json

import pytest
import torch

from anchorweave.evaluation.perceptual import fid, fvd, lpips_distance
from anchorweave.evaluation.perceptual.optional_metrics import OPTIONAL_METRICS
from anchorweave.geometry.cameras import Cameras
from inference import measure_extras
from inference.evaluation.cached_row import CachedRow, EvaluationTarget
from inference.measure_extras import main, samples
from tests.evaluation.perceptual.small import SmallI3D, SmallInception, noise, save

SHAPE = (9, 3, 32, 40)
MADE = {"protocol": "partial_revisit", "frames": 9, "size": [32, 40], "memory.kind": "x"}


def write_row(folder, name, share, clips=("a", "b", "c"), truth=True, **made):
    """A row whose videos are the truth, with `share` of noise mixed in."""
    row = CachedRow(folder / name)
    row.begin({**MADE, "name": name, **made}, clips, (0, 1), f"python -m generate {name}")
    for number, clip in enumerate(clips):
        known = noise(SHAPE, number)
        row.write_given(clip, EvaluationTarget(known if truth else None, None, None, None, 1.0), [])
        for seed in (0, 1):
            video = (1 - share) * known + share * noise(SHAPE, 10 + 2 * number + seed)
            row.write_sample(clip, seed, video, 1.0)
    return row


@pytest.fixture
def rows(tmp_path):
    write_row(tmp_path / "rows", "good", 0.1)
    write_row(tmp_path / "rows", "bad", 0.9)
    save(SmallInception(), tmp_path / "weights" / fid.FILE)
    save(SmallI3D(), tmp_path / "weights" / fvd.FILE)
    torch.manual_seed(0)
    layers = torch.nn.Sequential(*lpips_distance._alexnet()).state_dict()
    trunk = {f"features.{name}": value for name, value in layers.items()}
    torch.save(trunk, tmp_path / "weights" / lpips_distance.FILES["alex"])
    return tmp_path


def measure(folder, *words):
    places = [f"rows={folder / 'rows'}", f"output={folder / 'out'}", "perceptual.device=cpu"]
    main([*places, f"perceptual.weights={folder / 'weights'}", "resamples=200", *words])
    return json.loads((folder / "out" / "extras.json").read_text())


def test_what_is_there_is_measured_and_what_is_not_is_said(rows, capsys):
    results = measure(rows)
    good, bad = (results["rows"][name]["metrics"] for name in ("good", "bad"))
    assert list(good) == list(OPTIONAL_METRICS)
    lpips = good["lpips"]["means"]["lpips"]
    assert lpips["low"] <= lpips["mean"] <= lpips["high"] and lpips["clips"] == 3
    assert lpips["mean"] < bad["lpips"]["means"]["lpips"]["mean"]
    assert len(good["lpips"]["videos"]) == 6 and good["lpips"]["videos"][1]["seed"] == 1
    per_clip = [video["lpips"] for video in good["lpips"]["videos"]]
    assert lpips["mean"] == pytest.approx(sum(per_clip) / 6, rel=1e-6)
    for name, counts in (("fid", (48, 24)), ("fvd", (6, 3))):
        assert good[name]["distance"] < bad[name]["distance"]
        assert (good[name]["generated"], good[name]["true"]) == counts
    for name in ("vbench", "match_accuracy"):
        assert good[name] == bad[name] and good[name].startswith("not measured: ")
    said = capsys.readouterr().out
    assert said.count("vbench: not measured:") == said.count("match_accuracy: not measured:") == 1
    assert "fid of good: based on 48 generated and 24 true frames" in said
    assert "LPIPS ↓" in said and "(few)" in said
    assert results["command"].startswith("python -m inference.measure_extras rows=")
    assert results["metrics"]["fvd"]["kind"] == "per set"
    assert results["perceptual"]["lpips_network"] == "alex"
    assert results["rows"]["good"]["command"] == "python -m generate good"


def test_it_ends_with_an_error_when_nothing_could_be_measured(rows):
    with pytest.raises(SystemExit, match="none of vbench, match_accuracy could be measured"):
        measure(rows, "metrics=[vbench,match_accuracy]")
    results = json.loads((rows / "out" / "extras.json").read_text())["rows"]["good"]["metrics"]
    assert all(text.startswith("not measured: ") for text in results.values())
    (rows / "weights" / fid.FILE).unlink()
    with pytest.raises(SystemExit, match="none of fid could be measured"):
        measure(rows, "metrics=[fid]")


def test_a_run_that_ends_in_between_says_what_it_did_not_come_to(rows, monkeypatch):
    """Nothing is left that looks as if it had been asked for less."""
    measured, done = measure_extras.measure, []

    def stopped(name, *rest):
        if done:
            raise KeyboardInterrupt
        done.append(name)
        return measured(name, *rest)

    monkeypatch.setattr(measure_extras, "measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        measure(rows, "metrics=[lpips,fid]")
    good = json.loads((rows / "out" / "extras.json").read_text())["rows"]["good"]["metrics"]
    assert "means" in good["lpips"]
    assert good["fid"].startswith("not measured: not reached yet")


def test_a_loop_without_a_known_truth_has_only_what_needs_none(rows):
    for name in ("one", "other"):
        write_row(rows / "loops", name, 0.5, truth=False, protocol="closed_loop")
    results = measure(rows, f"rows={rows / 'loops'}", "metrics=[lpips,fid]")
    one = results["rows"]["one"]["metrics"]
    assert list(one["lpips"]["means"]) == ["lpips_loop"]
    assert one["fid"] == "not measured: no true frames are known along these paths"


def test_a_row_without_truth_and_loop_has_no_lpips(rows):
    write_row(rows / "unknown", "row", 0.5, truth=False)
    with pytest.raises(SystemExit, match="none of lpips"):
        measure(rows, f"rows={rows / 'unknown'}", "metrics=[lpips]")


def test_missing_videos_are_listed_and_the_rest_is_measured(rows, capsys):
    (rows / "rows" / "good" / "b" / "sample_0001.npz").unlink()
    (rows / "rows" / "good" / "c" / "given.npz").unlink()
    for file in (rows / "rows" / "bad").glob("*/sample_*.npz"):
        file.unlink()
    results = measure(rows, "metrics=[lpips]")["rows"]
    assert results["good"]["missing"] == ["b, seed 1", "c, seed 0", "c, seed 1"]
    assert results["good"]["metrics"]["lpips"]["means"]["lpips"]["clips"] == 2
    assert results["bad"]["metrics"]["lpips"].startswith("not measured: the row has no videos")
    assert "good lacks 3 videos" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["metrics=[lpips,fdi]"], "unknown metrics fdi; known: lpips, stlpips, fid, fvd"),
        (["metrics=[]"], "name one or more"),
        (["resamples=0"], "resamples=0"),
        (["rows=nowhere"], "no row in it"),
        (["perceptual.weight=x"], "perceptual.weight"),
        (["perceptual.lpips_network=squeeze"], "lpips_network"),
    ],
)
def test_bad_input_is_refused(rows, words, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        measure(rows, *words)
    assert not (rows / "out").exists()


@pytest.mark.parametrize(("end", "returns"), [(0.0, True), (1.0, False)])
def test_only_a_path_that_ends_where_it_began_returns(tmp_path, end, returns):
    c2w = torch.eye(4).repeat(9, 1, 1)
    c2w[:, 0, 3] = torch.cat([torch.linspace(0, 2, 8), torch.tensor([end])])
    cameras = Cameras(c2w, torch.eye(3).repeat(9, 1, 1), SHAPE[2:])
    row = CachedRow(tmp_path / "row")
    row.begin({**MADE, "protocol": "closed_loop"}, ["a"], [0], "python -m generate")
    row.write_given("a", EvaluationTarget(noise(SHAPE, 0), None, None, None, 1.0, cameras), [])
    row.write_sample("a", 0, noise(SHAPE, 1), 1.0)
    assert [sample.returns for sample in samples(row, "looking")] == [returns]

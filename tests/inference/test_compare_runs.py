import csv
import json
import shutil

import pytest

from inference.compare_runs import CompareRunsConfig, main
from tests.inference.measured_rows import write_results, write_row


@pytest.fixture
def runs(tmp_path):
    write_row(tmp_path / "rows", "good", 2)
    write_row(tmp_path / "rows", "bad", 6, **{"memory.kind": "y"})
    return tmp_path


def compare(folder, one, other, *words):
    out = folder / "comparison"
    main([f"one={one}", f"other={other}", f"output={out}", "resamples=100", *words])
    lines = list(csv.DictReader((out / "clips.csv").open()))
    return json.loads((out / "comparison.json").read_text()), lines


def test_rows_are_compared_clip_by_clip(runs, capsys):
    found, lines = compare(runs, runs / "rows/good", runs / "rows/bad", "most=2")
    pair = found["pairs"]["good minus bad"]
    psnr = pair["metrics"]["psnr"]
    assert (psnr["higher"], psnr["lower"], psnr["equal"], psnr["clips"]) == (4, 0, 0, 4)
    # Errors of 2 against 6 levels are further apart than 5 against 9.
    assert list(psnr["most"]) == ["a", "b"] and psnr["most"]["a"] > psnr["most"]["b"] > 0
    assert psnr["low"] < psnr["mean"] < psnr["high"] and psnr["low"] > 0
    assert "psnr_shown" not in pair["metrics"], "over other pixels in every row"
    assert pair["made_differently"] == {"memory.kind": ["x", "y"], "name": ["good", "bad"]}
    assert pair["one"]["seeds"] == [0, 1] and pair["one"]["command"] == "python -m generate good"
    of = [line for line in lines if line["metric"] == "psnr"]
    assert [line["clip"] for line in of] == ["a", "b", "c", "d"]
    for line in of:
        difference = float(line["one"]) - float(line["other"])
        assert float(line["difference"]) == pytest.approx(difference, abs=1e-12)
    mean = sum(float(line["difference"]) for line in of) / 4
    assert psnr["mean"] == pytest.approx(mean)
    said = capsys.readouterr().out
    assert "good minus bad" in said and "where they differ most" in said


def test_the_other_way_round_has_the_other_sign(runs):
    there = compare(runs, runs / "rows/good", runs / "rows/bad")[0]["pairs"]["good minus bad"]
    back = compare(runs, runs / "rows/bad", runs / "rows/good")[0]["pairs"]["bad minus good"]
    for metric, found in there["metrics"].items():
        other = back["metrics"][metric]
        assert other["mean"] == pytest.approx(-found["mean"])
        assert (other["higher"], other["lower"]) == (found["lower"], found["higher"])


def test_results_give_the_same_as_the_rows_that_they_are_of(runs):
    results = write_results(runs)
    of_rows = compare(runs, runs / "rows/good", runs / "rows/bad")[0]["pairs"]
    of_results = compare(runs, results / "good", results / "bad")[0]["pairs"]
    mixed = compare(runs, runs / "rows/good", results / "bad")[0]["pairs"]
    for found in (of_results, mixed):
        assert found["good minus bad"]["metrics"] == of_rows["good minus bad"]["metrics"]
    assert (
        of_results["good minus bad"]["one"]["fingerprint"]
        == (of_rows["good minus bad"]["one"]["fingerprint"])
    )


def test_of_two_folders_of_results_rows_of_one_name_are_compared(runs, capsys):
    before = shutil.copytree(write_results(runs), runs / "before")
    for row in (runs / "rows").iterdir():
        shutil.rmtree(row)
    write_row(runs / "rows", "good", 1)
    write_row(runs / "rows", "bad", 6)
    write_row(runs / "rows", "new", 6)
    found, _ = compare(runs, write_results(runs), before)
    assert list(found["pairs"]) == ["bad", "good"]
    assert found["pairs"]["bad"]["metrics"]["psnr"]["equal"] == 4
    assert found["pairs"]["good"]["metrics"]["psnr"]["higher"] == 4
    assert "only in one of the two, not compared: new" in capsys.readouterr().out


def test_missing_videos_and_metrics_of_one_only_are_said(runs, capsys):
    results = write_results(runs)
    said = json.loads((results / "results.json").read_text())
    said["rows"]["good"]["metrics"].pop("ssim")
    said["rows"]["bad"]["metrics"].pop("ssim")
    # As an earlier version would have written it.
    del said["sum"], said["videos_sum"]
    (results / "results.json").write_text(json.dumps(said))
    (runs / "rows/bad/c/sample_0000.npz").unlink()
    (runs / "rows/bad/d/given.npz").unlink()
    pair = compare(runs, results / "good", runs / "rows/bad")[0]["pairs"]["good minus bad"]
    assert pair["metrics"]["psnr"]["clips"] == 3 and pair["metrics_of_one_only"] == ["ssim"]
    assert pair["other"]["missing"] == ["c, seed 0", "d, seed 0", "d, seed 1"]
    out = capsys.readouterr().out
    assert "other lacks 3 videos: c, seed 0; d, seed 0; d, seed 1" in out
    assert "metrics that only one has, not compared: ssim" in out


def test_names_are_printed_as_they_are(runs, capsys):
    write_row(runs / "rows", "[red]", 3)
    compare(runs, runs / "rows/[red]", runs / "rows/bad")
    assert "[red] minus bad" in capsys.readouterr().out


def test_runs_that_were_not_asked_the_same_are_refused(runs):
    write_row(runs / "else", "later", 2, **{"split.kind": "later"})
    with pytest.raises(
        ValueError, match="have different evaluation settings.*split.kind: .* there, 'later' now"
    ):
        compare(runs, runs / "rows/good", runs / "else/later")
    write_row(runs / "else", "fewer", 2, clips=("a", "b"))
    with pytest.raises(ValueError, match="different clips"):
        compare(runs, runs / "rows/good", runs / "else/fewer")
    assert not (runs / "comparison").exists()


def test_runs_without_a_common_metric_are_refused(runs):
    for name, gone in (("good", ("a", "b")), ("bad", ("c", "d"))):
        for clip in gone:
            (runs / "rows" / name / clip / "given.npz").unlink()
    with pytest.raises(ValueError, match="no metric in common on any clip"):
        compare(runs, runs / "rows/good", runs / "rows/bad")


def test_it_must_be_clear_which_rows_are_meant(runs):
    results = write_results(runs)
    with pytest.raises(ValueError, match="use RESULTS/ROW for each"):
        compare(runs, results, runs / "rows/good")


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="name two runs"):
        CompareRunsConfig(one="x")
    with pytest.raises(ValueError, match="most=-1"):
        CompareRunsConfig("x", "y", most=-1)
    with pytest.raises(ValueError, match="resamples=0"):
        CompareRunsConfig("x", "y", resamples=0)

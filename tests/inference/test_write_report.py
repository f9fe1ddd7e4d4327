"""The page of rows that were written by hand, read back by a parser."""

import json
import shutil

import pytest
import torch

from anchorweave.video import read_video
from inference.evaluation.cached_row import CachedRow, EvaluationTarget
from inference.write_report import ReportConfig, main
from tests.evaluation.page_reader import Page
from tests.inference.measured_rows import MADE, true_video, write_results, write_row

HOSTILE = "<script>alert(1)<"


@pytest.fixture
def rows(tmp_path):
    write_row(tmp_path / "rows", "good", 2)
    write_row(tmp_path / "rows", "bad", 6)
    return tmp_path


def report(folder, *words, results=None):
    results = results or write_results(folder, "against=bad")
    output = folder / "page" / "report.html"
    main([f"results={results}", f"output={output}", *words])
    return Page(output.read_text())


def test_one_file_holds_everything(rows, tmp_path):
    page = report(rows, "clips=2")
    assert page.from_elsewhere() == []
    videos = page.videos()
    names = ["truth", "anchors", "bad, seed 0", "good, seed 0"]
    assert [name for name, _ in videos] == names * 2
    # Clip d is the worst of the row `bad`, a its best.
    for number, of_clip in ((3, videos[:4]), (0, videos[4:])):
        levels = (0, None, 6 + number, 2 + number)
        for (name, content), error in zip(of_clip, levels, strict=True):
            path = tmp_path / "one.mp4"
            path.write_bytes(content)
            frames = read_video(path).float()
            assert frames.shape == (5, 3, 16, 32), name
            if error is not None:
                wanted = true_video(number) * 255 + error
                assert (frames - wanted).abs().mean() < 1.5, (name, number)
    assert "the lowest of bad by PSNR, all pixels (dB)" in page.text["p"]
    assert "the highest of bad by PSNR, all pixels (dB)" in page.text["p"]
    assert ["Results", "Over time", "Videos"] == [
        h for h in ("Results", "Over time", "Videos") if h in page.text["h2"]
    ]


def test_tables_hold_the_numbers_of_the_results(rows):
    page = report(rows, "clips=0")
    results = json.loads((rows / "results" / "results.json").read_text())
    values = {float(td["data-value"]) for td in page.all("td") if "data-value" in td}
    for row in results["rows"].values():
        for metric, found in row["metrics"].items():
            assert found["mean"] in values, metric
            assert f"[{found['low']:.3f}, {found['high']:.3f}]" in page.text["td"], metric
        assert row["fingerprint"] in page.text["p"] and row["command"] in page.text["code"]
    # Paired differences, drawn anew, are those that evaluate writes.
    for metric, found in results["differences"]["good"].items():
        assert found["mean"] in values, metric
    assert results["command"] in page.text["code"]
    assert "100 resamples, seed 0" in page.text["p"] and "Differences from bad" in page.text["h2"]
    assert len(page.all("table")) >= 3 and "name" in page.text["td"], "what rows differ in"


def test_plots_show_every_row_and_clip(rows):
    page = report(rows, "clips=0")
    results = json.loads((rows / "results" / "results.json").read_text())
    labels = [svg["aria-label"] for svg in page.all("svg")]
    metrics = max(len(row["metrics"]) for row in results["rows"].values())
    # Bars per metric, mean differences, differences clip by clip, drift.
    assert len(labels) == metrics + 3 and "good minus bad, PSNR, all pixels (dB)" in labels
    assert len([r for r in page.all("rect") if r["class"] in ("up", "down")]) == 4
    assert len(page.all("polyline")) == 2


def test_names_prompts_and_paths_are_text(tmp_path):
    folder = tmp_path / '"&amp; x'
    write_row(folder / "rows", HOSTILE, 2, clips=("<b>clip",), prompt=HOSTILE)
    write_row(folder / "rows", "plain", 4, clips=("<b>clip",))
    (folder / "rows" / "plain" / "<b>clip" / "sample_0000.npz").unlink()
    with pytest.raises(SystemExit):
        write_results(folder)
    page = report(folder, results=folder / "results")
    assert len(page.all("script")) == 1 and not page.all("b") and page.from_elsewhere() == []
    for tag in ("td", "text", "h3", "figcaption"):
        assert HOSTILE in page.text[tag], tag
    assert "<b>clip" in page.text["h3"] and str(folder) in page.text["p"]
    assert "alert" not in page.text["script"]


def test_rooms_are_called_by_their_seed_and_the_run_is_named(tmp_path):
    clips = [f"procedural-seed={seed}-size=16x32" for seed in (7, 8)]
    write_row(tmp_path / "rows", "good", 2, clips=clips)
    results = write_results(tmp_path)
    page = report(tmp_path, results=results)
    assert "room 7" in page.text["h3"] and "room 8" in page.text["h3"]
    assert "procedural" not in page.text["h3"]
    # The name that clips=[...] takes stands beneath, and in the list.
    assert f"clip {clips[0]}" in page.text["p"] and f"room 8: {clips[1]}" in page.text["li"]
    assert json.loads((results / "results.json").read_text())["run"] in page.text["p"]
    assert all(int(article["data-start"]) > 0 for article in page.all("article"))


def test_missing_videos_are_named_in_the_page(rows, capsys):
    (rows / "rows/good/d/sample_0000.npz").unlink()
    (rows / "rows/good/b/given.npz").unlink()
    with pytest.raises(SystemExit):
        write_results(rows)
    page = report(rows, "clips=[d]", results=rows / "results")
    assert "good lacks 3 videos" in page.text["summary"]
    for video in ("d, seed 0", "b, seed 0", "b, seed 1"):
        assert video in page.text["li"], video
    assert "good lacks seed 0 of this clip" in page.text["p"]
    assert "good lacks 3 videos" in capsys.readouterr().out


def test_a_closed_loop_without_truth_or_anchors(tmp_path):
    row = CachedRow(tmp_path / "rows" / "loop")
    row.begin({**MADE, "protocol": "closed_loop"}, ["a"], [0], "python")
    row.write_given("a", EvaluationTarget(None, None, None, None, 0.0), [])
    row.write_sample("a", 0, torch.full((9, 3, 16, 32), 0.5), 1.0)
    page = report(tmp_path, results=write_results(tmp_path))
    assert [name for name, _ in page.videos()] == ["loop, seed 0"]
    assert "closed loop" in page.text["h1"] and "Over time" not in page.text["h2"]
    assert "Differences" not in page.text["h2"], "there is nothing to compare with"


def test_rows_that_lie_elsewhere_now_can_be_named(rows):
    results = write_results(rows)
    shutil.move(rows / "rows", rows / "moved")
    with pytest.raises(FileNotFoundError, match="no row in it"):
        report(rows, results=results)
    page = report(rows, f"rows={rows / 'moved'}", "clips=1", results=results)
    assert len(page.videos()) == 4
    assert not report(rows, "clips=0", results=results).videos()


def test_rows_that_were_made_anew_are_refused(rows):
    results = write_results(rows)
    shutil.rmtree(rows / "rows" / "good")
    write_row(rows / "rows", "good", 2, steps=3)
    with pytest.raises(ValueError, match="does not match the measured row"):
        report(rows, results=results)
    assert not (rows / "page").exists()


def test_unknown_names_are_refused(rows):
    results = write_results(rows)
    for word, message in (
        ("against=other", "against=other is none of: bad, good"),
        ("by=other", "by=other is none of"),
        ("metric=lpips", "metric=lpips is none of: psnr, ssim"),
        ("clips=[x]", "clips: x are not among the 4 measured clips"),
    ):
        with pytest.raises(ValueError, match=message):
            report(rows, word, results=results)
    with pytest.raises(FileNotFoundError, match="no results.json"):
        report(rows, results=rows)


def test_results_without_any_video_say_so(rows):
    for row in ("good", "bad"):
        for path in (rows / "rows" / row).glob("*/given.npz"):
            path.unlink()
    with pytest.raises(SystemExit):
        write_results(rows)
    with pytest.raises(ValueError, match="no video of row bad was measured"):
        report(rows, results=rows / "results")


@pytest.mark.parametrize("values", [{"clips": -1}, {"clips": True}, {"clips": "a"}, {"clips": [1]}])
def test_bad_clips_are_refused(values):
    with pytest.raises(ValueError, match="give a number, at least 0, or a list of names"):
        ReportConfig(**values)


def test_bad_numbers_are_refused():
    for name in ("seeds", "fps"):
        with pytest.raises(ValueError, match=f"{name}=0: must be at least 1"):
            ReportConfig(**{name: 0})


def test_a_report_links_to_the_page_of_an_explored_memory(rows):
    scene = rows / "a walk" / "scene.html"
    scene.parent.mkdir()
    scene.write_text("<!doctype html>")
    page = report(rows, "clips=0", f"scene={scene}")
    (link,) = [a for a in page.all("a") if not a["href"].startswith("#")]
    assert link["href"] == "../a%20walk/scene.html"
    with pytest.raises(FileNotFoundError, match="Static page"):
        report(rows, "clips=0", f"scene={rows / 'none.html'}")

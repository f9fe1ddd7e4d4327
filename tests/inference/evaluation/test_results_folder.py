import csv
import json
import shutil

import numpy as np
import pytest

from anchorweave import file_sets
from inference import evaluate
from inference.evaluation.cached_row import CachedRow
from inference.evaluation.results_folder import find_run, label, read_results
from inference.evaluation.scores import METRICS, comparable, score_row
from tests.inference.measured_rows import CLIPS, write_results, write_row


@pytest.fixture
def results(tmp_path):
    write_row(tmp_path / "rows", "one", 2)
    write_row(tmp_path / "rows", "two", 6, seeds=(0,))
    return write_results(tmp_path)


def test_rows_come_back_with_every_number(results, tmp_path):
    said, rows = read_results(results)
    assert list(rows) == ["one", "two"] and said["resamples"] == 100
    for name, row in rows.items():
        there = CachedRow(tmp_path / "rows" / name)
        scored = score_row(there)
        assert {k: row.record()[k] for k in ("made", "clips", "seeds")} == {
            k: there.record()[k] for k in ("made", "clips", "seeds")
        }
        for metric in METRICS:
            assert row.per_clip(metric) == scored.per_clip(metric), metric
        assert row.metrics() == [m for m in METRICS if scored.per_clip(m)] and row.metrics()


def test_a_row_that_was_not_measured_is_measured_as_it_is_read(results, tmp_path):
    (measured,) = find_run(str(tmp_path / "rows" / "one")).values()
    (read,) = find_run(str(results / "one")).values()
    assert measured.videos == read.videos and measured.record()["clips"] == list(CLIPS)
    assert list(find_run(str(results))) == ["one", "two"]


def test_a_metric_of_a_later_version_is_read_and_a_remark_passed_over(results):
    said = json.loads((results / "results.json").read_text())
    for row in said["rows"].values():
        row["metrics"]["jumps"] = dict(row["metrics"]["psnr"], unit="px")
        row["metrics"]["of_the_row"] = row["metrics"]["psnr"]
    (results / "results.json").write_text(json.dumps(without_sums(said)))
    lines = list(csv.DictReader((results / "videos.csv").open()))
    lines = [{**line, "jumps": i, "remark": "fine"} for i, line in enumerate(lines)]
    write_lines(results, lines)
    rows = read_results(results)[1]
    assert rows["one"].per_clip("jumps") == {"a": 0.5, "b": 2.5, "c": 4.5, "d": 6.5}
    assert rows["one"].metrics()[-1] == "jumps" and label("jumps") == "jumps"
    assert rows["one"].per_clip("remark") == rows["one"].per_clip("of_the_row") == {}


def without_sums(said):
    """As earlier versions wrote it."""
    return {key: value for key, value in said.items() if key not in ("sum", "videos_sum")}


def write_lines(results, lines):
    with (results / "videos.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def test_clips_without_any_video_are_still_what_was_asked(tmp_path):
    row = write_row(tmp_path / "rows", "one", 2)
    (row.path / "b" / "given.npz").unlink()
    (row.path / "c" / "sample_0001.npz").unlink()
    with pytest.raises(SystemExit):
        write_results(tmp_path)
    (read,) = read_results(tmp_path / "results")[1].values()
    assert read.record()["clips"] == list(CLIPS) and set(read.per_clip("psnr")) == {"a", "c", "d"}
    assert read.missing == ("b, seed 0", "b, seed 1", "c, seed 1")


def test_what_is_not_there_is_named(results, tmp_path):
    with pytest.raises(FileNotFoundError, match="no results.json; python -m inference.evaluate"):
        read_results(tmp_path)
    (results / "videos.csv").unlink()
    with pytest.raises(FileNotFoundError, match="holds no videos.csv"):
        read_results(results)
    with pytest.raises(FileNotFoundError, match="neither a row .no row.json. nor results"):
        find_run(str(tmp_path / "nothing"))


def test_a_row_that_the_results_do_not_have_is_named(results):
    with pytest.raises(FileNotFoundError, match="no row 'three', only one, two"):
        find_run(str(results / "three"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "JSONDecodeError.*measure again"),
        ('{"rows": {"one": {}}}', "KeyError: 'metrics'"),
        ("[1]", "TypeError"),
    ],
)
def test_results_of_something_else_are_refused(results, content, message):
    (results / "results.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_results(results)


def test_files_of_two_runs_are_refused(results):
    lines = list(csv.DictReader((results / "videos.csv").open()))
    write_lines(results, [line for line in lines if (line["row"], line["clip"]) != ("one", "b")])
    with pytest.raises(ValueError, match="results.json has 4 clips of row one, .*videos.csv has 3"):
        read_results(results)
    write_lines(results, [*lines, {**lines[0], "row": "three"}])
    with pytest.raises(ValueError, match="videos.csv: has a row 'three', .*results.json lacks"):
        read_results(results)


def test_results_of_one_run_are_not_read_with_videos_of_another(results, tmp_path):
    """The rows and clips are the same; only the ids of their runs tell."""
    first = shutil.copytree(results, tmp_path / "first")
    write_results(tmp_path)
    runs = [json.loads((one / "results.json").read_text())["run"] for one in (first, results)]
    shutil.copy(first / "videos.csv", results)
    mixed = (
        f"results.json of run {runs[1]} and .*/videos.csv of run {runs[0]} do not belong together"
    )
    with pytest.raises(ValueError, match=mixed):
        read_results(results)
    with pytest.raises(ValueError, match=mixed):
        find_run(str(results / "one"))
    lines = list(csv.DictReader((results / "videos.csv").open()))
    write_lines(results, [{**line, "run": runs[i % 2]} for i, line in enumerate(lines)])
    with pytest.raises(ValueError, match="lines of 2 runs"):
        read_results(results)


def test_results_of_earlier_versions_state_no_run(results):
    lines = list(csv.DictReader((results / "videos.csv").open()))
    write_lines(results, [{k: v for k, v in line.items() if k != "run"} for line in lines])
    with pytest.raises(ValueError, match="videos.csv of a run without an id"):
        read_results(results)
    said = json.loads((results / "results.json").read_text())
    del said["run"]
    (results / "results.json").write_text(json.dumps(without_sums(said)))
    assert list(read_results(results)[1]) == ["one", "two"]


@pytest.mark.parametrize("write", ["write_videos", "write_drift", "write_json"])
def test_measuring_again_and_failing_between_two_files_leaves_the_old_results(
    results, tmp_path, monkeypatch, write
):
    before = {path.name: path.read_bytes() for path in results.iterdir()}

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr(evaluate, write, full)
    with pytest.raises(OSError, match="disk full"):
        write_results(tmp_path)
    assert {path.name: path.read_bytes() for path in results.iterdir()} == before
    assert list(read_results(results)[1]) == ["one", "two"]


def test_results_whose_run_was_killed_while_they_took_their_places_are_whole(
    results, tmp_path, monkeypatch
):
    old = json.loads((results / "results.json").read_text())["run"]
    with monkeypatch.context() as patched:
        patched.setattr(file_sets, "_finish", lambda folder: None)
        write_results(tmp_path)
    # Complete, and not yet in its places.
    assert json.loads((results / "results.json").read_text())["run"] == old
    assert read_results(results)[0]["run"] != old
    assert json.loads((results / "results.json").read_text())["run"] != old


def test_a_report_of_the_results_before_is_pointed_out(results, tmp_path, capsys):
    assert "still shows the previous results" not in capsys.readouterr().out
    (results / "report.html").write_text("old")
    write_results(tmp_path)
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "still shows the previous results; update it with python -m inference.write_report" in said
    )


def test_a_line_that_is_no_number_or_cut_off_is_named(results):
    lines = list(csv.DictReader((results / "videos.csv").open()))
    write_lines(results, [{**lines[0], "psnr": "good"}, *lines[1:]])
    with pytest.raises(ValueError, match="videos.csv, line 2: could not convert"):
        read_results(results)
    write_lines(results, lines)
    whole = (results / "videos.csv").read_text()
    (results / "videos.csv").write_text(whole.rstrip()[:-30])
    with pytest.raises(ValueError, match="in this version's format"):
        read_results(results)


def test_a_line_that_is_gone_or_a_number_that_was_changed_is_refused(results):
    """Of row one every clip has two seeds, so that no clip is gone with a line."""
    lines = list(csv.DictReader((results / "videos.csv").open()))
    changed = [
        lines[:7] + lines[8:],
        [{**lines[0], "psnr": str(float(lines[0]["psnr"]) + 1)}, *lines[1:]],
        [{**lines[0], "clip": "b"}, *lines[1:]],
    ]
    for wrong in changed:
        write_lines(results, wrong)
        with pytest.raises(
            ValueError, match="videos.csv was changed since it was written: its checksum"
        ):
            read_results(results)
    # A column more is a person's remark, another order of columns a spreadsheet's.
    write_lines(results, [dict(reversed([*line.items(), ("remark", "good")])) for line in lines])
    read_results(results)
    said = json.loads((results / "results.json").read_text())
    said["rows"]["one"]["metrics"]["psnr"]["mean"] += 1
    (results / "results.json").write_text(json.dumps(said))
    with pytest.raises(
        ValueError, match="results.json was changed since it was written: its checksum"
    ):
        read_results(results)


def test_names_that_a_terminal_obeys_are_refused(results):
    said = (results / "results.json").read_text()
    (results / "results.json").write_text(said.replace('"two"', '"t\\u001b[31mwo"'))
    lines = list(csv.DictReader((results / "videos.csv").open()))
    write_lines(
        results, [{**line, "row": line["row"].replace("two", "t\x1b[31mwo")} for line in lines]
    )
    with pytest.raises(ValueError, match=r"results.json: the name 't\\x1b\[31mwo' holds"):
        read_results(results)


def test_a_video_whose_header_is_damaged_is_named(results, tmp_path):
    """Of one brace turned into a bracket numpy raises tokenize.TokenError."""
    row = CachedRow(tmp_path / "rows" / "one")
    path = row.path / "a" / "sample_0000.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays)
    path.write_bytes(path.read_bytes().replace(b"), }", b"), [", 1))
    with pytest.raises(ValueError, match="sample_0000.npz cannot be read .* regenerates it"):
        row.read_sample("a", 0)


def test_anchors_show_other_pixels_in_every_row():
    assert comparable("psnr_only_memory") and not comparable("psnr_shown")

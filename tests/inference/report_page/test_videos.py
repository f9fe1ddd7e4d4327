from dataclasses import replace

import pytest

from inference.evaluation.results_folder import read_results
from inference.report_page.videos import chosen_clips, clip_videos, open_measured, spread
from tests.inference.measured_rows import write_results, write_row


def test_clips_are_spread_from_the_lowest_to_the_highest():
    values = {f"clip{i}": float((7 * i) % 11) for i in range(11)}
    order = sorted(values, key=values.get)
    assert spread(values, 3) == {
        order[0]: "the lowest",
        order[5]: "the median",
        order[10]: "the highest",
    }
    five = spread(values, 5)
    assert list(five) == [order[i] for i in (0, 2, 5, 7, 10)]
    assert five[order[2]] == "rank 3 of 11 from the lowest"
    assert list(spread(values, 1)) == [order[5]]
    assert list(spread(values, 99)) == order


def test_one_and_two_clips_have_places():
    assert spread({"x": 1.0}, 3) == {"x": "the only"}
    assert spread({"x": 1.0, "y": 0.0}, 3) == {"y": "the lowest", "x": "the highest"}


@pytest.fixture
def known(tmp_path):
    rows = {
        name: write_row(tmp_path / "rows", name, error) for name, error in (("good", 2), ("bad", 6))
    }
    results, measured = read_results(write_results(tmp_path))
    return rows, results, measured


def names(found):
    return [[tile.name for tile in line] for line in found.lines]


def test_truth_and_equal_anchors_are_shown_once(known):
    rows, _, measured = known
    found = clip_videos("b", rows, measured, 1, 8)
    assert names(found) == [["truth"], ["anchors", "good, seed 0", "bad, seed 0"]]
    tiles = [tile for line in found.lines for tile in line]
    assert found.frames == 5 and all(tile.size == (16, 32) and tile.video for tile in tiles)
    assert tiles[1].note == "of good, bad" and tiles[1].numbers == {"pixels shown": "50%"}
    # Error of 2 + 1 levels in clip b.
    assert tiles[2].numbers["PSNR, all pixels (dB)"] == "38.588" and not tiles[0].numbers
    both = clip_videos("b", rows, measured, 2, 8)
    assert names(both)[1] == [
        "anchors",
        "good, seed 0",
        "good, seed 1",
        "bad, seed 0",
        "bad, seed 1",
    ]


def test_other_anchors_stand_before_the_rows_that_they_are_of(known):
    rows, _, measured = known
    given = rows["bad"].read_given("b")
    rows["bad"].write_given("b", replace(given, anchors=given.anchors * 0.5), [])
    found = clip_videos("b", rows, measured, 1, 8)
    assert names(found) == [["truth"], ["anchors", "good, seed 0"], ["anchors", "bad, seed 0"]]
    assert [line[0].note for line in found.lines[1:]] == ["of good", "of bad"]


def test_a_clip_opens_where_its_videos_differ_most(known):
    """Not on the first frame, which was given and is the same in all."""
    rows, _, measured = known
    video, seconds = rows["bad"].read_sample("b", 0)
    video[3] = 1 - video[3]
    rows["bad"].write_sample("b", 0, video, seconds)
    assert clip_videos("b", rows, measured, 1, 8).start == 3
    # A single row is compared with the truth; without truth, with where it began.
    one = {"bad": rows["bad"]}
    assert clip_videos("b", one, measured, 1, 8).start == 3
    given = rows["bad"].read_given("b")
    rows["bad"].write_given("b", replace(given, truth=None), [])
    # It darkens from frame to frame.
    assert clip_videos("b", one, measured, 1, 8).start == 4


def test_a_video_that_is_not_there_is_named(known):
    rows, _, measured = known
    (rows["bad"].path / "b" / "sample_0000.npz").unlink()
    tile = clip_videos("b", rows, measured, 1, 8).lines[-1][-1]
    assert tile.video is None and "no video" in tile.note
    assert str(rows["bad"].path) in tile.note
    for row in rows.values():
        for path in (row.path / "c").iterdir():
            path.unlink()
    found = clip_videos("c", rows, measured, 1, 8)
    assert (found.frames, found.start) == (0, 0)
    assert [tile.video for line in found.lines for tile in line] == [None, None]


def test_clips_can_be_named(known):
    measured = known[2]
    chosen = chosen_clips(2, measured, "good", "psnr")
    assert (
        list(chosen) == ["d", "a"]
        and "the lowest of good by PSNR, all pixels (dB): " in chosen["d"]
    )
    assert list(chosen_clips(["c"], measured, "good", "psnr")) == ["c"]
    with pytest.raises(ValueError, match="clips: x, y are not among the 4 measured clips"):
        chosen_clips(["a", "x", "y"], measured, "good", "psnr")


def test_videos_must_be_those_that_were_measured(known, tmp_path):
    rows, results, _ = known
    assert open_measured(rows, results, "there") == rows
    with pytest.raises(FileNotFoundError, match="row good was measured, but is not in there"):
        open_measured({"bad": rows["bad"]}, results, "there")
    other = write_row(tmp_path / "else", "good", 2, steps=7)
    with pytest.raises(ValueError, match="does not match the measured row good"):
        open_measured({**rows, "good": other}, results, "there")

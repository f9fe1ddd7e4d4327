import pytest

from anchorweave.datasets.splits import SplitConfig
from tests.training.small_data import write_room
from training.preparing.sources import find_recordings, windows

CAMERA_LINE = "1000 0.5 0.9 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n"


def test_one_recording_a_folder_of_many_and_words(tmp_path):
    for name in ("x/one", "x/two", "y/one"):
        write_room(tmp_path / name, count=2)
    re10k = tmp_path / "y" / "re10k"
    re10k.mkdir()
    for name in ("a1", "b2"):
        (re10k / f"{name}.txt").write_text(CAMERA_LINE)
    (tmp_path / ".hidden").mkdir()
    found = find_recordings(str(tmp_path))
    assert list(found) == ["x-one", "x-two", "y-one", "y-re10k-a1", "y-re10k-b2"]
    assert found["y-re10k-b2"] == str(re10k / "b2.txt")
    assert find_recordings(str(tmp_path / "x" / "one")) == {"one": str(tmp_path / "x" / "one")}
    words = "procedural:seed=3,frames=70"
    both = find_recordings([words, str(re10k / "a1.txt")])
    assert both == {"procedural-seed=3-frames=70": words, "a1": str(re10k / "a1.txt")}


def test_what_cannot_be_found_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing: no such file"):
        find_recordings(str(tmp_path / "nothing"))
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    with pytest.raises(ValueError, match="0 recordings; looked in it and below for transforms"):
        find_recordings(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="lists no recordings"):
        find_recordings([])
    for name in ("x/room", "y/room"):
        write_room(tmp_path / name, count=2)
    with pytest.raises(ValueError, match="x/room and .*y/room would both be called 'room'"):
        find_recordings([str(tmp_path / "x/room"), str(tmp_path / "y/room")])


def test_the_papers_window_and_stretches_that_follow_one_another():
    (only,) = windows(70, 49, SplitConfig(), None, None)
    assert len(only.target) == 49 and len(only.history) == 21
    found = windows(200, 49, SplitConfig(start=10), None, None)
    assert [min(s.target + s.history) for s in found] == [10, 80]
    assert all(
        set(s.target) | set(s.history) == set(range(at, at + 70))
        for s, at in zip(found, (10, 80), strict=True)
    )
    overlapping = windows(200, 49, SplitConfig(), None, 35)
    assert [min(s.history + s.target) for s in overlapping] == [0, 35, 70, 105]
    assert len(windows(200, 49, SplitConfig(), 2, 35)) == 2


def test_a_long_gap_within_every_stretch():
    split = SplitConfig(kind="later", window=30, history=0.5)
    found = windows(100, 9, split, None, 20)
    assert [(s.history[0], s.history[-1], s.target[0], s.target[-1]) for s in found] == [
        (at, at + 14, at + 15, at + 29) for at in (0, 20, 40, 60)
    ]
    (whole,) = windows(100, 9, SplitConfig(kind="later", history=0.5), None, None)
    assert whole.history[-1] == 49 and whole.target[-1] == 99


@pytest.mark.parametrize(
    "count, split, clips, stride, message",
    [
        (69, SplitConfig(), None, None, "stretch of 70 frames .* recording of 69 frames"),
        (100, SplitConfig(kind="later", window=101), None, None, "stretch of 101 frames"),
        (70, SplitConfig(start=70), None, None, "starting at frame 70"),
        (70, SplitConfig(), 0, None, "clips_per_recording=0"),
        (70, SplitConfig(), None, 0, "stride=0"),
    ],
)
def test_what_does_not_fit_is_refused(count, split, clips, stride, message):
    with pytest.raises(ValueError, match=message):
        windows(count, 49, split, clips, stride)

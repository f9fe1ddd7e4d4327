import pytest

from anchorweave.datasets.splits import Split, SplitConfig, split_frames


def test_the_papers_partial_revisit():
    split = split_frames(count=100, target=49, config=SplitConfig(start=10))
    assert len(split.target) == 49 and len(split.history) == 21
    assert split.target[0] == 10 and split.target[-1] == 79
    assert not set(split.target) & set(split.history)
    assert sorted(split.target + split.history) == list(range(10, 80))
    gaps = {b - a for a, b in zip(split.target, split.target[1:], strict=False)}
    assert gaps == {1, 2}


def test_a_window_of_choice():
    split = split_frames(30, 5, SplitConfig(window=9))
    assert split.target == (0, 2, 4, 6, 8) and split.history == (1, 3, 5, 7)


def test_even_steps_keep_the_papers_share_of_history():
    split = split_frames(120, 49, SplitConfig(start=3, step=2))
    assert split.target == tuple(range(3, 100, 2))
    assert len(split.history) == 21 and not set(split.target) & set(split.history)
    assert all(3 < frame < 99 for frame in split.history)
    gaps = {b - a for a, b in zip(split.history, split.history[1:], strict=False)}
    assert gaps == {4, 6}
    assert split_frames(9, 2, SplitConfig(step=4)) == Split((0, 4), (1,))


@pytest.mark.parametrize(
    "values, message",
    [
        ({"step": 1}, "split.step=1: must be 2 or more"),
        ({"step": 2, "window": 9}, "split.step=2 and split.window=9 both"),
    ],
)
def test_a_step_that_means_nothing_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        SplitConfig(**values)


def test_later_keeps_history_before_target():
    split = split_frames(150, 25, SplitConfig(kind="later"))
    assert split.history == tuple(range(100))
    assert split.target[0] == 100 and split.target[-1] == 149 and len(set(split.target)) == 25


def test_a_long_gap_is_neither_remembered_nor_generated():
    split = split_frames(60, 10, SplitConfig(kind="long_gap", start=10, history=0.4))
    assert split.history == tuple(range(10, 30)) and split.target == tuple(range(50, 60))
    shortest = split_frames(40, 10, SplitConfig(kind="long_gap", history=0.5))
    assert shortest.history == tuple(range(20)) and shortest.target[0] == 30


def test_one_target_frame():
    assert split_frames(3, 1, SplitConfig(kind="later")).target == (2,)


@pytest.mark.parametrize(
    "count, target, config, message",
    [
        (20, 25, SplitConfig(), "window of 36 frames .* recording of 20 frames"),
        (60, 25, SplitConfig(window=20), "window of 20 frames"),
        (30, 25, SplitConfig(kind="later"), "25 target frames do not fit the 10 frames"),
        (30, 5, SplitConfig(start=30), "split.start=30"),
        (30, 5, SplitConfig(kind="later", history=1.0), "split.history=1.0"),
        (30, 5, SplitConfig(kind="long_gap", history=0.0), "split.history=0.0"),
        (
            39,
            10,
            SplitConfig(kind="long_gap", history=0.5),
            "a gap of 9 frames .* up to frame 20, and the last 10 of 39 .* record more",
        ),
        (12, 10, SplitConfig(kind="long_gap"), "a gap of 0 frames"),
    ],
)
def test_a_recording_too_short_is_refused(count, target, config, message):
    with pytest.raises(ValueError, match=message):
        split_frames(count, target, config)

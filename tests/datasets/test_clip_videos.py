import pytest
import torch
from safetensors.torch import load_file, save_file

from anchorweave.datasets.clip_videos import video_shape
from anchorweave.datasets.doctor import examine
from anchorweave.datasets.layout import PIXELS, BadClip
from anchorweave.datasets.prepared_clip_reading import read_anchors, read_target
from tests.datasets.small_clips import FRAMES, SIZE, pixels, write_clip


@pytest.fixture
def raw(tmp_path):
    return write_clip(tmp_path, "a", storage="raw")


def rounded(video):
    return (video * 255).round() / 255


def test_raw_pixels_come_back_exactly_and_without_a_video_file(raw):
    known = pixels()
    assert not list(raw.rglob("*.mp4"))
    assert torch.equal(read_target(raw), rounded(known.video))
    anchors, truth = read_anchors(raw, "local_clouds"), known.retrieved["local_clouds"].anchors
    assert torch.equal(anchors.video, rounded(truth.video))
    assert torch.equal(anchors.visible, truth.visible)


def test_both_kinds_tell_their_shape_and_satisfy_the_doctor(tmp_path):
    for storage in ("raw", "video"):
        clip = write_clip(tmp_path / storage, "a", storage=storage)
        assert video_shape(clip, clip / "video.mp4") == (FRAMES, *SIZE)
        verdicts = examine(tmp_path / storage, 0.0)
        assert [verdict.problems for verdict in verdicts] == [()]


def test_raw_pixels_that_are_cut_off_or_incomplete_are_named(raw):
    tensors = load_file(raw / PIXELS)
    save_file({"video": tensors["video"]}, raw / PIXELS)
    with pytest.raises(BadClip, match=r"pixels.safetensors \(anchors/local_clouds/anchor_0\)"):
        read_anchors(raw, "local_clouds")
    whole = (raw / PIXELS).read_bytes()
    (raw / PIXELS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadClip, match=r"pixels.safetensors \(video\) cannot be read"):
        read_target(raw)

"""What every reader keeps; the test of a new one calls `check_reader` on a recording it wrote."""

import pytest
import torch

from anchorweave.recordings import RecordingConfig, open_recording
from anchorweave.recordings.identity import content_of


def check_reader(path):
    """The recording at `path`, of two frames or more, once all that it offers was asked for."""
    recording = open_recording(path)
    T, (H, W) = len(recording), recording.cameras.size
    assert recording.path == path and T >= 2
    assert len(recording.cameras) == T and len(set(recording.names)) == T
    recording.cameras.validated(str(path), recording.names)
    assert all(file.is_file() for file in recording.files()), "files() names the files it reads"
    # Clips are made anew where it changes.
    assert recording.files() and content_of(recording) == content_of(open_recording(path))
    for i in (0, T - 1):
        frame = recording.frame(i)
        assert frame.shape == (3, H, W) and frame.dtype == torch.float32
        assert 0 <= frame.min() and frame.max() <= 1
        if (static := recording.static(i)) is not None:
            assert static.shape == (H, W) and static.dtype == torch.bool
        if recording.has_depth:
            depth = recording.depth(i)
            assert depth.shape == (H, W) and depth.dtype == torch.float32
            assert depth.isfinite().all() and depth.min() >= 0 and depth.max() > 0
    if not recording.has_depth:
        with pytest.raises(ValueError, match="holds no depth"):
            recording.depth(0)
    clip = recording.clip([T - 1, 0], size=(8, 8))
    assert clip.frames.shape == (2, 3, 8, 8) and clip.names == recording.names[:: 1 - T]
    assert recording.caption() is None
    beside = path / "caption.txt" if path.is_dir() else path.with_suffix(".caption.txt")
    beside.write_text("a room\n")
    assert open_recording(path).caption() == "a room"
    beside.unlink()
    _check_options(path, recording)
    return recording


def _check_options(path, recording):
    """Each option is honoured or refused, never ignored."""
    K = [2.0 * value for value in (30, 30, recording.cameras.size[1] / 4, 5)]
    try:
        other = open_recording(path, options=RecordingConfig(intrinsics=tuple(K)))
    except ValueError as error:
        assert "recording.intrinsics" in str(error)
    else:
        assert not torch.equal(other.cameras.K, recording.cameras.K)
    try:
        other = open_recording(path, options=RecordingConfig(depth_scale=7.0))
    except ValueError as error:
        assert "recording.depth_scale" in str(error)
    else:
        assert recording.has_depth, "depth_scale is refused where there is no depth"
        assert not torch.equal(other.depth(0), recording.depth(0))

import subprocess

import imageio_ffmpeg
import pytest
import torch

from anchorweave import video
from anchorweave.video import VideoFile, read_video, write_video


def moving_square(T=6, H=34, W=50):
    y, x = torch.meshgrid(torch.linspace(0, 1, H), torch.linspace(0, 1, W), indexing="ij")
    return torch.stack([torch.stack([x, y, 0 * x + t / T]) for t in range(T)])


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, moving_square(), fps=8)
    return path


def test_round_trip_keeps_size_count_time_and_colour(written):
    frames = moving_square()
    read = read_video(written)
    assert read.dtype == torch.uint8 and read.shape == frames.shape
    assert (read / 255 - frames).abs().mean() < 0.01
    torch.testing.assert_close(VideoFile(written).times(), torch.arange(6).double() / 8)


def test_uint8_and_float_write_the_same(tmp_path, written):
    write_video(tmp_path / "b.mp4", (moving_square() * 255).round().byte(), fps=8)
    assert torch.equal(read_video(tmp_path / "b.mp4"), read_video(written))


def test_chosen_frames_come_in_the_asked_order(written):
    every = read_video(written)
    assert torch.equal(read_video(written, [4, 0, 2]), every[[4, 0, 2]])
    with pytest.raises(IndexError, match="0..5.*6"):
        read_video(written, [6])


def test_an_iterator_writes_the_same(tmp_path, written):
    write_video(tmp_path / "b.mp4", (frame for frame in moving_square()))
    assert (tmp_path / "b.mp4").read_bytes() == written.read_bytes()


@pytest.mark.parametrize("shape", [(2, 3, 33, 50), (2, 3, 34, 51), (0, 3, 34, 50)])
def test_sizes_that_h264_cannot_hold_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match="even sizes" if shape[0] else "0 frames"):
        write_video(tmp_path / "a.mp4", torch.zeros(shape))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_cut_off_video_is_named(written, share):
    content = written.read_bytes()
    written.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"a\.mp4.*cannot be read"):
        read_video(written)


def test_a_missing_video_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="b.mp4"):
        read_video(tmp_path / "b.mp4")


def test_a_write_that_fails_leaves_no_file(tmp_path, monkeypatch):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def append_data(self, image):
            raise OSError("No space left on device")

    def half(path, **_):
        path.write_bytes(b"half")
        return Full()

    monkeypatch.setattr(video.imageio, "get_writer", half)
    with pytest.raises(OSError, match="No space left"):
        write_video(tmp_path / "a.mp4", moving_square())
    assert not list(tmp_path.iterdir())


def test_frames_that_ffmpeg_lost_are_noticed(tmp_path, monkeypatch):
    class Lossy:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def append_data(self, image):
            pass

    monkeypatch.setattr(video.imageio, "get_writer", lambda *_, **__: Lossy())
    with pytest.raises(OSError, match="0 of 6 frames"):
        write_video(tmp_path / "a.mp4", moving_square())
    assert not list(tmp_path.iterdir())


def test_a_cut_without_encoding_shows_what_players_show(tmp_path):
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    write_video(whole, moving_square(T=24), fps=8)
    # A cut at a frame that others are needed for: they stay in the file, hidden by an edit list.
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-ss", "1.25"]
    subprocess.run([*command, "-i", str(whole), "-c", "copy", str(cut)], check=True)
    every, video = read_video(whole), VideoFile(cut)
    assert len(video) == 14
    torch.testing.assert_close(video.times(), torch.arange(14).double() / 8, atol=1e-3, rtol=0)
    # The copy is lossless, the way from YUV to RGB is the same.
    assert torch.equal(video.frames([0, 7, 13, 2]), every[[10, 17, 23, 12]])


def trimmed(whole, path, milliseconds):
    """A copy of a video whose edit list ends it earlier, as an editor's trim does."""
    stored = bytearray(whole.read_bytes())
    span = stored.index(b"elst") + 12
    assert int.from_bytes(stored[span : span + 4], "big") == 3000
    stored[span : span + 4] = milliseconds.to_bytes(4, "big")
    path.write_bytes(stored)


@pytest.mark.parametrize("milliseconds, count", [(1000, 8), (1060, 9), (2875, 23)])
def test_an_edit_list_ends_a_video_where_players_end_it(tmp_path, milliseconds, count):
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    write_video(whole, moving_square(T=24), fps=8)
    trimmed(whole, cut, milliseconds)
    every, video = read_video(whole), VideoFile(cut)
    assert len(every) == 24 and len(video) == count
    assert torch.equal(video.frames(range(count)), every[:count])
    with pytest.raises(IndexError, match=f"0..{count - 1}"):
        video.frames([count])


def test_a_whole_video_is_not_copied(written, monkeypatch):
    monkeypatch.setattr(video, "_copy_shown", None)
    assert len(VideoFile(written)) == 6

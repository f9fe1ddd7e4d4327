from pathlib import Path

import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.images import write_frame
from anchorweave.recordings import Recording, open_recording
from anchorweave.recordings.image_files import ImageFiles
from anchorweave.video import write_video

ROOT = Path(__file__).parents[2]
FOX = ROOT.parent / "shared" / "data" / "fox"


class Greys(Recording):
    """Frames of one grey each, with depth, in memory."""

    has_depth = True

    def __init__(self, T=3, size=(8, 12)):
        K = intrinsics(10.0, 10.0, 6.0, 4.0).repeat(T, 1, 1)
        self.path, self.names = Path("greys"), tuple(f"g{i}" for i in range(T))
        self.cameras = Cameras(torch.eye(4).repeat(T, 1, 1), K, size)

    def frame(self, i):
        return torch.full((3, *self.cameras.size), i / 10)

    def depth(self, i):
        return torch.full(self.cameras.size, float(i))


def test_a_clip_holds_what_was_asked_for_in_that_order():
    clip = Greys().clip([2, 1, 2], size=(4, 4))
    assert clip.names == ("g2", "g1", "g2") and clip.cameras.size == (4, 4)
    torch.testing.assert_close(clip.frames.mean((1, 2, 3)), torch.tensor([0.2, 0.1, 0.2]))
    assert clip.depth.unique().tolist() == [1.0, 2.0]


def test_what_was_filmed_cannot_be_filmed_anew():
    assert Greys().along(0, torch.eye(4)[None]) is None


@pytest.mark.parametrize("indices", [[3], [-1], [0, 5]])
def test_positions_outside_are_refused(indices):
    with pytest.raises(IndexError, match="frames 0..2"):
        Greys().clip(indices)


def test_many_positions_outside_are_counted():
    with pytest.raises(IndexError, match=r"not 3, 4, 5, 6, 7 and 92 more$"):
        Greys().clip(range(100))
    with pytest.raises(IndexError, match=r"not -1, 3$"):
        Greys().clip([0, -1, 3])


def test_a_frame_of_invalid_depth_is_read():
    """A target needs no depth, and perception may estimate it; what refuses it is perception."""
    clip = Greys().clip([1, 0], size=(4, 4))
    assert (clip.depth[0] == 1).all() and not clip.depth[1].any()


def test_counts_must_agree(tmp_path):
    cameras = Greys().cameras
    images = [tmp_path / "a.png"] * 3
    with pytest.raises(ValueError, match="counts differ.*'images': 2"):
        ImageFiles(tmp_path, "abc", cameras, images[:2])
    with pytest.raises(ValueError, match="counts differ.*'depths': 1"):
        ImageFiles(tmp_path, "abc", cameras, images, images[:1])


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_recording(tmp_path / "nowhere")


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match="is empty; looked for transforms.json.*7-Scenes.*TUM"):
        open_recording(tmp_path)


def test_an_unknown_folder_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(ValueError, match="no recording; looked for transforms.json.*ScanNet"):
        open_recording(tmp_path)
    with pytest.raises(ValueError, match="notes.txt: is neither"):
        open_recording(tmp_path / "notes.txt")


def test_images_without_poses_are_refused(tmp_path):
    write_video(tmp_path / "a.mp4", torch.zeros(2, 3, 16, 16))
    write_frame(torch.zeros(3, 16, 16), tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="a.mp4: is a video without camera poses.*transforms.json"):
        open_recording(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="inference.reconstruct source=.*a.mp4 output=data/a`"):
        open_recording(tmp_path / "a.mp4")
    (tmp_path / "b").mkdir()
    write_frame(torch.zeros(3, 16, 16), tmp_path / "b" / "1.jpg")
    with pytest.raises(ValueError, match="b: is a folder of images without camera poses"):
        open_recording(tmp_path / "b")


def test_the_embedded_example_opens():
    folder = ROOT / "data" / "example_dataset"
    recording = open_recording(folder)
    clip = recording.clip([0, len(recording) - 1])
    assert len(recording) >= 70 and recording.has_depth
    assert clip.frames.shape[-2:] == (128, 192) and (clip.depth > 0).all()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert size <= 3_000_000
    assert (folder / "caption.txt").read_text().strip()


@pytest.mark.skipif(not FOX.is_dir(), reason="the fox recording is not at hand")
def test_fox_lists_images_that_do_not_exist():
    with pytest.raises(FileNotFoundError, match="17 of 67 .*images/0005.jpg"):
        open_recording(FOX)
    recording = open_recording(FOX, missing="skip")
    assert len(recording) == 50 and not recording.has_depth
    # Its lens leaves strips of a few pixels unseen; they are cut off.
    height, width = recording.cameras.size
    assert 940 < height <= 960 and 525 < width <= 540
    assert recording.clip([0], size=(64, 96)).frames.shape == (1, 3, 64, 96)

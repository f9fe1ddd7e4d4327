"""A photograph is a recording of one frame, once something says its focal length."""

import math

import pytest
import torch
from PIL import Image

from anchorweave.images import write_frame
from anchorweave.recordings import RecordingConfig, open_recording


@pytest.fixture
def photo(tmp_path):
    write_frame(torch.rand(3, 30, 40), tmp_path / "a.jpg")
    return tmp_path / "a.jpg"


def test_the_field_of_view_gives_the_focal_length(photo):
    recording = open_recording(photo, options=RecordingConfig(field_of_view=60.0))
    K = recording.cameras.K[0]
    assert K[0, 0] == pytest.approx(20 / math.tan(math.radians(30)))
    assert K[1, 1] == K[0, 0] and K[:2, 2].tolist() == [20, 15]
    assert len(recording) == 1 and recording.names == ("a.jpg",) and not recording.has_depth
    assert torch.equal(recording.cameras.c2w, torch.eye(4)[None])
    assert recording.clip([0], (16, 16)).frames.shape == (1, 3, 16, 16)


def test_exif_data_and_intrinsics_give_it_too(photo, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 27
    with Image.open(photo) as image:
        image.save(tmp_path / "b.jpg", exif=exif)
    assert open_recording(tmp_path / "b.jpg").cameras.K[0, 0, 0] == pytest.approx(30)
    given = RecordingConfig(intrinsics=(50.0, 51.0, 19.0, 16.0))
    assert open_recording(tmp_path / "b.jpg", options=given).cameras.K[0, 0, 0] == 50


def test_without_any_it_says_what_to_set(photo):
    with pytest.raises(
        ValueError, match="a.jpg: .*focal length is unknown.*set recording.field_of_view="
    ):
        open_recording(photo)

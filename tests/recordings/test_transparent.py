"""Transparent parts of images are nothing that was seen."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from anchorweave.images import write_depth
from anchorweave.memory import Bank
from anchorweave.recordings import open_recording

MAGENTA = (255, 0, 255, 0)


@pytest.fixture
def folder(tmp_path):
    pixels = np.zeros((24, 32, 4), dtype=np.uint8)
    pixels[:] = (20, 120, 40, 255)
    pixels[8:16, 12:20] = MAGENTA
    Image.fromarray(pixels).save(tmp_path / "a.png")
    write_depth(torch.full((24, 32), 2.0), 1e-3, tmp_path / "d.png")
    frame = {"file_path": "a.png", "depth_file_path": "d.png"}
    frame["transform_matrix"] = np.eye(4).tolist()
    meta = {"fl_x": 30, "w": 32, "h": 24, "frames": [frame]}
    (tmp_path / "transforms.json").write_text(json.dumps(meta))
    return tmp_path


def test_they_have_no_depth_and_are_not_static(folder):
    clip = open_recording(folder).clip([0])
    hole = torch.zeros(24, 32, dtype=torch.bool)
    hole[8:16, 12:20] = True
    assert torch.equal(clip.static[0], ~hole)
    assert torch.equal(clip.depth[0] == 0, hole)
    assert (clip.frames[0][:, hole] == 0).all()


def test_no_magenta_is_remembered_at_a_smaller_size(folder, tmp_path):
    clip = open_recording(folder).clip([0], (16, 16))
    bank = Bank(tmp_path / "bank")
    bank.append(clip)
    remembered = bank.depth(0) > 0
    colours = bank.frame(0)[:, remembered]
    expected = torch.tensor([20.0, 120, 40])[:, None] / 255
    # Rounded to 8 bits once more. Neither magenta nor a mixture with black.
    assert remembered.any() and (colours - expected).abs().max() < 0.5 / 255 + 1e-6


def test_behind_a_lens_as_well(folder):
    file = folder / "transforms.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps(meta | {"k1": -0.05}))
    clip = open_recording(folder).clip([0])
    colours = clip.frames[0][:, clip.static[0]]
    expected = torch.tensor([20.0, 120, 40])[:, None] / 255
    torch.testing.assert_close(colours, expected.expand_as(colours), atol=2e-3, rtol=0)
    assert 32 < (~clip.static).sum() < 160


def test_a_stored_size_that_exif_turns_is_told(folder):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (24, 32)).save(folder / "a.png", exif=exif)
    assert open_recording(folder).clip([0]).frames.shape[-2:] == (24, 32)
    meta = json.loads((folder / "transforms.json").read_text())
    (folder / "transforms.json").write_text(json.dumps(meta | {"w": 24, "h": 32}))
    with pytest.raises(ValueError, match="stored as 32x24.*EXIF orientation 6.*remove that tag"):
        open_recording(folder)

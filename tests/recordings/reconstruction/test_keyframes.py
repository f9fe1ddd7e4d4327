"""Keyframes lie an even share of motion apart; motion is that of what is seen."""

import pytest
import torch

from anchorweave.images import exif_focal
from anchorweave.recordings.reconstruction.keyframes import Motion, choose_keyframes


def texture(height, width):
    draw = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 3, height // 4, width // 4, generator=draw)
    return torch.nn.functional.interpolate(noise, (height, width), mode="bicubic")[0].clamp(0, 1)


def test_a_shift_is_measured_in_shares_of_the_image():
    wide, motion = texture(128, 256), Motion()
    for left in (0, 6, 18, 18):
        motion.see(wide[:, :, left : left + 192])
    # Six and twelve pixels of 192, up to whole pixels.
    assert motion.shifts.tolist() == pytest.approx([6 / 192, 12 / 192, 0], abs=0.5 / 192)


def test_blur_is_less_sharp():
    motion, sharp = Motion(), texture(96, 128)
    motion.see(sharp)
    motion.see(torch.nn.functional.avg_pool2d(sharp[None], 5, 1, 2)[0])
    assert motion.sharpness[1] < 0.5 * motion.sharpness[0]


def test_an_even_share_of_motion():
    # Fast first, then three times as slow.
    shifts = torch.tensor([0.03] * 6 + [0.01] * 18)
    keys = choose_keyframes(shifts, torch.ones(25), 0.06, 100)
    travelled = torch.cat([torch.zeros(1), shifts.cumsum(0)])
    steps = travelled[keys].diff()
    assert keys[0] == 0 and keys[-1] == 24
    assert (steps > 0.03).all() and (steps < 0.09).all()
    assert sum(key <= 6 for key in keys) == 4


def test_the_sharper_of_two_is_taken():
    sharpness = torch.ones(21)
    sharpness[11] = 9
    keys = choose_keyframes(torch.full((20,), 0.01), sharpness, 0.05, 100)
    assert 11 in keys and 10 not in keys


def test_all_where_steps_are_large_and_fewer_where_there_are_too_many():
    assert choose_keyframes(torch.full((9,), 0.2), torch.ones(10), 0.03, 100) == list(range(10))
    assert len(choose_keyframes(torch.full((99,), 0.2), torch.ones(100), 0.03, 20)) <= 20
    assert choose_keyframes(torch.zeros(9), torch.ones(10), 0.03, 100) == [0, 9]


@pytest.mark.parametrize(
    ("tags", "focal"),
    [({0xA405: 28}, 28 / 36 * 40), ({0x920A: 5.0, 0xA20E: 8.0, 0xA210: 4}, 40.0), ({}, None)],
)
def test_focal_length_of_a_photograph(tmp_path, tags, focal):
    from PIL import Image

    image, exif = Image.new("RGB", (40, 30)), Image.Exif()
    exif.get_ifd(0x8769).update(tags)
    image.save(tmp_path / "a.jpg", exif=exif)
    found = exif_focal(tmp_path / "a.jpg")
    assert found == (None if focal is None else pytest.approx(focal))

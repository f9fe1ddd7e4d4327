import numpy as np
import pytest
import torch
from PIL import Image

from anchorweave.images import (
    image_size,
    read_depth,
    read_frame,
    read_opaque,
    write_depth,
    write_frame,
)

SEEDED = torch.Generator().manual_seed(0)


def test_png_round_trip_is_exact_in_eight_bits(tmp_path):
    image = torch.randint(0, 256, (3, 5, 7), generator=SEEDED).float() / 255
    write_frame(image, tmp_path / "a.png")
    torch.testing.assert_close(read_frame(tmp_path / "a.png"), image)
    assert image_size(tmp_path / "a.png") == (5, 7)


def test_jpeg_is_chosen_by_suffix(tmp_path):
    write_frame(torch.full((3, 8, 8), 0.5), tmp_path / "a.jpg")
    assert Image.open(tmp_path / "a.jpg").format == "JPEG"
    assert (read_frame(tmp_path / "a.jpg") - 0.5).abs().max() < 0.02


def test_depth_round_trip_is_exact_to_half_a_step(tmp_path):
    depth = torch.tensor([[0.0, 0.5, 1.2344], [65.534, 3.0004, 0.0006]])
    write_depth(depth, 1e-3, tmp_path / "d.png")
    read = read_depth(tmp_path / "d.png", 1e-3)
    assert (read - depth).abs().max() <= 0.5e-3 + 1e-6
    assert torch.equal(read == 0, depth == 0)


def test_zero_and_saturated_depth_are_invalid(tmp_path):
    steps = np.array([[0, 1, 65534, 65535]], dtype=np.uint16)
    Image.fromarray(steps).save(tmp_path / "d.png")
    expected = torch.tensor([[0.0, 2e-4, 65534 * 2e-4, 0.0]])
    torch.testing.assert_close(read_depth(tmp_path / "d.png", 2e-4), expected)


@pytest.mark.parametrize("depth", [65.6, -0.1, float("nan")])
def test_depth_that_does_not_fit_sixteen_bits_is_refused(tmp_path, depth):
    with pytest.raises(ValueError, match=r"d\.png.*uint16"):
        write_depth(torch.tensor([[1.0, depth]]), 1e-3, tmp_path / "d.png")
    assert not list(tmp_path.iterdir())


def test_eight_bit_depth_is_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), dtype=np.uint8)).save(tmp_path / "d.png")
    with pytest.raises(ValueError, match=r"d\.png.*16-bit"):
        read_depth(tmp_path / "d.png", 1e-3)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_off_image_is_named(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    write_frame(torch.rand(3, 32, 32, generator=SEEDED), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=rf"a\.{suffix}: cannot be read"):
        read_frame(path)


def test_a_failed_write_leaves_no_file(tmp_path, monkeypatch):
    def half(self, path, **_):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match="No space"):
        write_frame(torch.zeros(3, 4, 4), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_colours_under_alpha_0_are_not_seen(tmp_path):
    pixels = np.zeros((2, 3, 4), dtype=np.uint8)
    pixels[:] = (255, 0, 255, 0)
    pixels[0, 0], pixels[0, 1] = (10, 20, 30, 255), (100, 200, 50, 51)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    frame = read_frame(tmp_path / "a.png")
    torch.testing.assert_close(frame[:, 0, 0] * 255, torch.tensor([10.0, 20, 30]))
    torch.testing.assert_close(frame[:, 0, 1] * 255, torch.tensor([20.0, 40, 10]))
    assert (frame[:, 1] == 0).all()
    opaque = torch.zeros(2, 3, dtype=torch.bool)
    opaque[0, 0] = True
    assert torch.equal(read_opaque(tmp_path / "a.png"), opaque)


def test_a_palette_may_be_transparent(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    image.putpalette([255, 0, 255, 0, 255, 0])
    image.save(tmp_path / "a.png", transparency=0)
    assert read_frame(tmp_path / "a.png")[:, 0].mT.tolist() == [[0, 0, 0], [0, 1, 0]]
    assert read_opaque(tmp_path / "a.png").tolist() == [[False, True]]


def test_alpha_that_hides_nothing_is_none(tmp_path):
    Image.new("RGBA", (3, 2), (1, 2, 3, 255)).save(tmp_path / "a.png")
    write_frame(torch.zeros(3, 2, 2), tmp_path / "b.png")
    assert read_opaque(tmp_path / "a.png") is None and read_opaque(tmp_path / "b.png") is None


def test_grey_of_sixteen_bits_keeps_its_levels(tmp_path):
    levels = np.array([[0, 300, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    expected = torch.tensor([[0.0, 300 / 65535, 32768 / 65535, 1.0]]).expand(3, 1, 4)
    torch.testing.assert_close(read_frame(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(tmp_path, orientation):
    # Where EXIF's table says that the first row and column of the stored pixels are seen.
    upright = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright[:, ::-1].swapaxes(0, 1)[::1],
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: upright[::-1].swapaxes(0, 1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert image_size(tmp_path / "a.png") == (4, 6)
    read = (read_frame(tmp_path / "a.png") * 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(read, upright)

"""First frames in every form, and those that are refused."""

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from anchorweave.models.pixels import checked_pixels, read_images

H, W = 4, 6


def test_every_form_gives_the_same_colours():
    array = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    colours = torch.from_numpy(array).movedim(-1, 0).float() / 255
    forms = [array, array[None], array / 255, colours, colours[None], [colours], [array]]
    forms.append((255 * colours).round().to(torch.uint8))
    for form in forms:
        torch.testing.assert_close(read_images(form, (H, W)), colours[None])
    pil = read_images(Image.fromarray(array), (H, W))
    assert len(pil) == 1 and np.array_equal(np.asarray(pil[0]), array)


def test_a_batch_keeps_its_order():
    batch = torch.rand(3, 3, H, W, generator=torch.Generator().manual_seed(0))
    assert torch.equal(read_images(batch, (H, W)), batch)
    assert torch.equal(read_images(list(batch), (H, W)), batch)


def test_pil_images_of_other_modes_become_rgb():
    grey, alpha = read_images([Image.new("L", (2, 2), 7), Image.new("RGBA", (2, 2))], (H, W))
    assert grey.mode == alpha.mode == "RGB" and grey.getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.full((3, H, W), -1.0), r"\[0, 1\]"),
        (torch.full((3, H, W), 255.0), r"\[0, 1\]"),
        (torch.full((3, H, W), float("nan")), r"\[0, 1\]"),
        (np.full((H, W, 3), 2.0), r"\[0, 1\]"),
        (torch.rand(3, H, W + 1), "resize it together with its cameras"),
        (torch.rand(4, H, W), "resize it together with its cameras"),
        (torch.rand(H, W), "resize it together with its cameras"),
        (np.zeros((3, H, W), np.uint8), "resize it together with its cameras"),
        ("kitchen.png", "is a str"),
        ([torch.rand(3, H, W), Image.new("RGB", (W, H))], "is a Image"),
    ],
)
def test_images_that_cannot_be_read_are_refused(monkeypatch, image, message):
    # As outside of tests, where no type is checked.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        read_images(image, (H, W))


def test_rounding_beyond_the_range_is_clamped():
    pixels = torch.tensor([-1e-6, 0.5, 1 + 1e-6])
    assert torch.equal(checked_pixels(pixels, "x"), torch.tensor([0.0, 0.5, 1.0]))

"""Colours become the same bytes by every way."""

import numpy as np
import pytest
import torch

from anchorweave.eight_bit import to_bytes, to_image


def colours(shape):
    """Values around [0, 1], with each level and the middles between two levels among them."""
    torch.manual_seed(0)
    values = torch.rand(shape) * 1.2 - 0.1
    exact = torch.arange(511) / 2 / 255
    values.view(-1)[: len(exact)] = exact
    return values


def test_levels_are_clipped_and_rounded():
    values = torch.tensor([-0.2, 0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 1.0, 1.7])
    assert to_bytes(values).tolist() == [0, 0, 0, 1, 254, 255, 255]
    assert to_bytes(torch.arange(256) / 255).tolist() == list(range(256))
    assert values[0] < 0  # what it is given stays as it is


@pytest.mark.parametrize("order", ["planes", "interleaved", "part"])
def test_an_image_has_the_same_bytes_however_it_lies_in_memory(order):
    frame = colours((3, 20, 30))
    if order == "interleaved":
        frame = frame.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    if order == "part":
        frame = frame[:, 1:15:2, 3:]
    image = to_image(frame)
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.flags.writeable
    expected = to_bytes(frame).permute(1, 2, 0)
    assert (image == expected.numpy()).all()
    assert (to_image(frame.double()) == to_bytes(frame.double()).permute(1, 2, 0).numpy()).all()
    assert (to_image(to_bytes(frame)) == expected.numpy()).all()

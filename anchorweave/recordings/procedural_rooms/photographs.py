"""Surface patterns cut from photographs, for more natural rooms.

The photographs come with scikit-image and are free of rights: bricks, grass, gravel, coffee and
chelsea the cat (CC0), astronaut, rocket and Hubble's deep field (public domain).
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.random import Generator
from PIL import Image

from anchorweave.recordings.procedural_rooms.textures import SIDE, U, V, colour

PICTURES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "rocket.jpg",
)
# Crop size relative to a photograph's shorter side; random, so that few pictures look the same.
CUT = (0.4, 1.0)


@lru_cache
def photograph(name: str) -> np.ndarray:
    """One of scikit-image's photographs as colours [H, W, 3] in [0, 1].

    Raises:
        ModuleNotFoundError: scikit-image is not installed.
    """
    with (files("skimage.data") / name).open("rb") as stream, Image.open(stream) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64) / 255


def picture(rng: Generator) -> np.ndarray:
    """A framed crop of a photograph, sometimes monochrome, as a picture on a wall."""
    whole = photograph(PICTURES[rng.integers(len(PICTURES))])
    side = int(rng.uniform(*CUT) * min(whole.shape[:2]))
    top, left = (int(rng.integers(length - side + 1)) for length in whole.shape[:2])
    canvas = _resized(whole[top : top + side, left : left + side])
    if rng.random() < 0.5:
        canvas = canvas[:, ::-1]
    if rng.random() < 0.3:
        canvas = canvas.mean(axis=2, keepdims=True) * colour(rng, (0.0, 0.4), (0.9, 1.0))
    edge = np.minimum.reduce([U, 1 - U, V, 1 - V])[..., None]
    frame = colour(rng, (0.3, 0.7), (0.2, 0.6), (0.05, 0.12))
    return np.where(edge < 0.05, frame, np.where(edge < 0.09, 0.92, canvas))


def bricks(rng: Generator) -> np.ndarray:
    """A photographed brick wall in a different red."""
    return _tinted("brick.png", colour(rng, (0.35, 0.6), (0.5, 0.75), (0.01, 0.07)))


def tiles(rng: Generator) -> np.ndarray:
    """A floor of square tiles made of photographed gravel, with grout."""
    floor = _tinted("gravel.png", colour(rng, (0.0, 0.35), (0.5, 0.85)))
    grout = ((V * 4) % 1 < 0.03) | ((U * 4) % 1 < 0.03)
    return np.where(grout[..., None], 0.4, floor)


def foliage(rng: Generator) -> np.ndarray:
    """Photographed grass for leaves."""
    return _tinted("grass.png", colour(rng, (0.5, 0.8), (0.35, 0.65), (0.24, 0.38)))


def _tinted(name: str, base: np.ndarray) -> np.ndarray:
    """A photograph recoloured to the mean colour `base` [3], mirrored to tile seamlessly."""
    grey = _resized(photograph(name).mean(axis=2, keepdims=True).repeat(3, axis=2), SIDE // 2)
    whole = np.block([[[grey], [grey[:, ::-1]]], [[grey[::-1]], [grey[::-1, ::-1]]]])
    return np.clip(base * whole / whole.mean(), 0, 1)


def _resized(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """[H, W, 3] in [0, 1] resized to [side, side, 3] by area averaging."""
    pixels = Image.fromarray((image * 255).round().astype(np.uint8))
    return np.asarray(pixels.resize((side, side), Image.Resampling.BOX), dtype=np.float64) / 255

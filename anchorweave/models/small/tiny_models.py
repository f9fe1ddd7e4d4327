"""Models built in code, by the name used in place of a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anchorweave.models.model_folder import write_model
from anchorweave.models.notes import UNTRAINED
from anchorweave.models.small import tiny, tiny_wan


@dataclass(frozen=True)
class TinyModel:
    """A model built in code.

    Args:
        components: makes its components from (seed, frames, size).
        in_space: pixels per latent pixel along each side.
    """

    components: Callable[..., dict[str, object]]
    in_space: int


TINY = {
    "tiny": TinyModel(tiny.tiny_components, tiny.IN_SPACE),
    "tiny_wan": TinyModel(tiny_wan.tiny_wan_components, tiny_wan.IN_SPACE),
}


def video_of(path: str | Path, latent_size: tuple[int, int, int]) -> tuple[int, tuple[int, int]]:
    """Frames and (height, width) of the video that corresponds to latents (t, h, w).

    Args:
        path: one of `TINY`. Models in folders state their own sizes, so the factors of `tiny`
            are used for them.
        latent_size: (t, h, w).
    """
    t, h, w = latent_size
    scale = TINY[str(path)].in_space if str(path) in TINY else tiny.IN_SPACE
    return (t - 1) * tiny.IN_TIME + 1, (h * scale, w * scale)


def write_tiny_model(
    name: str, path: str | Path, frames: int, size: tuple[int, int], seed: int = 0
) -> Path:
    """Writes one of `TINY` as a pipeline folder, with a note that its weights are random.

    Raises:
        FileExistsError: `path` exists.
    """
    write_model(path, TINY[name].components(seed, frames, size), UNTRAINED)
    return Path(path)

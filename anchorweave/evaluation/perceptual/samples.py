"""The input of an optional metric, and the error if it cannot be measured.

Nothing here downloads anything: the user provides the weights (pretrained/README.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.eight_bit import to_bytes
from anchorweave.errors import ToldError

# (clip, seed) -> column -> value.
PerVideo = dict[tuple[str, int], dict[str, float]]


class NotMeasuredError(ToldError):
    """A metric that cannot be measured; the message is one line: the reason and the remedy."""


@dataclass(frozen=True)
class Sample:
    """One generated video.

    Args:
        clip: the clip's name.
        seed: the sampling seed.
        video: the generated video [T, 3, H, W] in [0, 1]; frame 0 was given.
        truth: the true frames [T, 3, H, W] in [0, 1]; None if unknown.
        returns: whether the camera ends where it began.
    """

    clip: str
    seed: int
    video: Float[Tensor, "T 3 H W"]
    truth: Float[Tensor, "T 3 H W"] | None
    returns: bool


def weights_file(folder: Path, name: str, source: str) -> Path:
    """The file `name` in `folder`.

    Raises:
        NotMeasuredError: it is missing; the message says where to get it.
    """
    path = folder / name
    if not path.is_file():
        raise NotMeasuredError(f"{path} is not there; get it from {source}")
    return path


def load_torchscript(path: Path, device: str) -> torch.jit.ScriptModule:
    """Loads a TorchScript network for feature extraction.

    Raises:
        NotMeasuredError: not a TorchScript file.
    """
    try:
        return torch.jit.load(path, map_location=device).eval()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise NotMeasuredError(f"{path} cannot be read as TorchScript ({reason})") from error


def load_tensors(path: Path, device: str) -> dict[str, Tensor]:
    """Loads the tensors of a file written by `torch.save`.

    Raises:
        NotMeasuredError: not such a file, or other content.
    """
    try:
        tensors = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NotMeasuredError(f"{path} cannot be read as weights ({reason})") from error
    if not isinstance(tensors, dict):
        raise NotMeasuredError(f"{path} holds not weights but {type(tensors).__name__}")
    return tensors


def levels(video: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T 3 H W"]:
    """The 8-bit levels 0..255 of a video in [0, 1], as floats: the feature networks' input."""
    return to_bytes(video).float()

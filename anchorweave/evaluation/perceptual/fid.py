"""FID: Fréchet distance of single frames, with the Inception network of 2015 (Heusel et al., 2017).

The network is NVIDIA's TorchScript copy of the original TensorFlow graph. Its input is 8-bit
levels, which it resizes to 299 x 299 like the original (bilinear, without antialiasing). clean-fid
calls that "legacy_tensorflow"; its own resizing, and torchvision's Inception, give other numbers.
Frame 0 of a video is an input of the model and is excluded from both sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.evaluation.perceptual.feature_sets import SetDistance, distance_of_sets
from anchorweave.evaluation.perceptual.samples import (
    NotMeasuredError,
    Sample,
    levels,
    load_torchscript,
    weights_file,
)

FILE = "inception-2015-12-05.pt"
SOURCE = f"https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/{FILE}"
FEATURES = 2048
BATCH = 32


def load_fid(folder: Path, device: str) -> Callable[[Iterable[Sample]], SetDistance]:
    """A function that computes the FID of a row's videos.

    Args:
        folder: contains the network's file.
        device: where to run it.

    Raises:
        NotMeasuredError: the file is missing, or not this network.
    """
    path = weights_file(folder, FILE, SOURCE)
    network = load_torchscript(path, device)

    def features(video: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "n D"]:
        if len(video) < 2:
            raise NotMeasuredError("a video of one frame has no generated frame")
        batches = [
            network(part.to(device), return_features=True).flatten(1).cpu()
            for part in levels(video[1:]).split(BATCH)
        ]
        if batches[0].shape[1] != FEATURES:
            raise NotMeasuredError(
                f"{path} gives {batches[0].shape[1]} features instead of {FEATURES}: not Inception"
            )
        return torch.cat(batches)

    return lambda samples: distance_of_sets(samples, features, "frames")

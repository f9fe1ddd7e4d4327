"""ST-LPIPS: LPIPS with a shift-tolerant AlexNet (Ghildyal and Liu, 2022).

Errors in poses or depth shift generated videos by a pixel relative to the truth. This AlexNet
downsamples after 1-2-1 blurs with reflected borders, and its first layer has stride 1, so that such
shifts have little effect. The package `stlpips-pytorch` contains the weights; its code, which
requires torchvision, is not needed, and the numbers are the same.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anchorweave.evaluation.perceptual.lpips_distance import CalibratedFeatures, measured_by
from anchorweave.evaluation.perceptual.samples import (
    NotMeasuredError,
    PerVideo,
    Sample,
    load_tensors,
)

PACKAGE = "stlpips_pytorch"
FILE = "alex_shift_tolerant.pth"
IN_PACKAGE = Path("weights/vST0.0") / FILE
TAPS = (2, 6, 10, 12, 14)
# Smaller sides leave fewer than the three pixels that reflection padding by two needs.
SMALLEST = 21


class Blur(nn.Module):
    """Downsampling by two after a 1-2-1 blur, with borders reflected by two.

    Args:
        channels: number of image channels.
    """

    def __init__(self, channels: int):
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filt", torch.outer(line, line).repeat(channels, 1, 1, 1))

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """Half the size."""
        around = nn.functional.pad(images, (2, 2, 2, 2), mode="reflect")
        return nn.functional.conv2d(around, self.filt, stride=2, groups=len(self.filt))


def shift_tolerant_lpips(tensors: dict[str, Tensor]) -> CalibratedFeatures:
    """Creates the distance.

    Args:
        tensors: from the package's file: `net.sliceS.N.weight` of layer N, `linN.model.1.weight`.

    Raises:
        ValueError: tensors of another network.
    """
    named = {re.sub(r"^net\.slice\d\.", "", k): v for k, v in tensors.items() if k[:4] == "net."}
    return CalibratedFeatures(_alexnet(), TAPS, named, tensors)


def load_shift_tolerant(folder: Path, device: str) -> Callable[[Iterable[Sample]], PerVideo]:
    """A function that computes the ST-LPIPS of a row's videos: `stlpips`, and `stlpips_loop`.

    Args:
        folder: may contain the file; else the installed package does.
        device: where to run it.

    Raises:
        NotMeasuredError: the file is missing, or not this network.
    """
    path = _weights(folder)
    try:
        distance = shift_tolerant_lpips(load_tensors(path, "cpu")).to(device)
    except ValueError as error:
        raise NotMeasuredError(f"{path}: {str(error).splitlines()[0]}") from error
    return measured_by(distance, "stlpips", SMALLEST, device)


def _weights(folder: Path) -> Path:
    if (folder / FILE).is_file():
        return folder / FILE
    # Located without importing it, which would require torchvision.
    spec = importlib.util.find_spec(PACKAGE)
    for place in spec.submodule_search_locations or () if spec else ():
        if (path := Path(place) / IN_PACKAGE).is_file():
            return path
    raise NotMeasuredError(
        f"{folder / FILE} is not there, nor is it installed; "
        "pip install --no-deps stlpips-pytorch provides it"
    )


def _alexnet() -> list[nn.Module]:
    """AlexNet up to the last compared layer."""
    return [
        *(nn.Conv2d(3, 64, 11, padding=2), Blur(64), nn.ReLU()),
        *(nn.MaxPool2d(3, 1), Blur(64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
        *(nn.MaxPool2d(3, 1), Blur(192), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]

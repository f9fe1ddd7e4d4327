"""LPIPS: image distance by calibrated features of AlexNet or VGG-16 (Zhang et al., 2018).

Version 0.1: features of five layers are normalised at every pixel; their squared differences are
weighted per channel, averaged over pixels, and the five summed. The convolutional layers come from
torchvision's file and the channel weights from torchmetrics, so that the numbers match the `lpips`
package; torchvision itself is not needed. Images are used at their own size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
import torchmetrics
from jaxtyping import Float
from torch import Tensor, nn

from anchorweave.evaluation.perceptual.samples import (
    NotMeasuredError,
    PerVideo,
    Sample,
    load_tensors,
    weights_file,
)

SOURCE = "https://download.pytorch.org/models"
FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
# Layers of torchvision's `features` whose outputs are compared: the last of each stage.
TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}
# Images with smaller sides shrink to nothing before the last layer.
SMALLEST = {"alex": 31, "vgg": 16}
# ImageNet's mean and standard deviation of colours, in [-1, 1] as in version 0.1.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-8
BATCH = 16


class CalibratedFeatures(nn.Module):
    """An image distance by the features of several layers, with one weight per channel.

    Args:
        layers: the network, up to the last compared layer.
        taps: indices of the layers whose outputs are compared.
        weights: weights of the layers, `N.weight` for layer N and so on.
        linear: the calibrated weights of each channel, `linN.model.1.weight` for the N-th tap.

    Raises:
        ValueError: weights of another network.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        taps: Sequence[int],
        weights: Mapping[str, Tensor],
        linear: Mapping[str, Tensor],
    ):
        super().__init__()
        self.taps = tuple(taps)
        self.features = nn.Sequential(*layers)
        try:
            self.features.load_state_dict(dict(weights))
            for number in range(len(self.taps)):
                channels = linear[f"lin{number}.model.1.weight"]
                self.register_buffer(f"linear_{number}", channels.clone())
        except (RuntimeError, KeyError) as error:
            raise ValueError(f"weights of another network: {error}") from error
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])
        self.eval().requires_grad_(False)

    def forward(
        self, one: Float[Tensor, "B 3 H W"], other: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, " B"]:
        """The distance of each pair of images in [0, 1]; 0 = identical."""
        total = torch.zeros(len(one), device=one.device)
        pairs = zip(self._directions(one), self._directions(other), strict=True)
        for number, (a, b) in enumerate(pairs):
            weighed = (a - b).square() * getattr(self, f"linear_{number}")
            total = total + weighed.sum(dim=1).mean(dim=(1, 2))
        return total

    def _directions(self, images: Tensor) -> list[Tensor]:
        values = (2 * images - 1 - self.shift) / self.scale
        directions = []
        for number, layer in enumerate(self.features):
            values = layer(values)
            if number in self.taps:
                length = (values.square().sum(dim=1, keepdim=True) + EPSILON).sqrt()
                directions.append(values / length)
        return directions


def load_lpips(folder: Path, network: str, device: str) -> Callable[[Iterable[Sample]], PerVideo]:
    """A function that computes the LPIPS of a row's videos.

    `lpips` is the mean over the generated frames against the true ones; `lpips_loop` compares the
    last frame with the first if the camera returns (Spatia's closed loop).

    Args:
        folder: contains torchvision's file.
        network: `alex` or `vgg`.
        device: where to run it.

    Raises:
        NotMeasuredError: the file is missing, or not this network.
    """
    path = weights_file(folder, FILES[network], f"{SOURCE}/{FILES[network]}")
    brought = Path(torchmetrics.__file__).parent / "functional/image/lpips_models"
    linear = weights_file(brought, f"{network}.pth", "torchmetrics, which should bring it")
    try:
        distance = lpips(network, load_tensors(path, "cpu"), load_tensors(linear, "cpu"))
    except ValueError as error:
        raise NotMeasuredError(f"{path}: {str(error).splitlines()[0]}") from error
    return measured_by(distance.to(device), "lpips", SMALLEST[network], device)


def lpips(
    network: str, trunk: Mapping[str, Tensor], linear: Mapping[str, Tensor]
) -> CalibratedFeatures:
    """Creates the distance.

    Args:
        network: `alex` or `vgg`.
        trunk: torchvision's weights of it, possibly with the classifier's.
        linear: the calibrated weights of each channel, `linN.model.1.weight`.

    Raises:
        ValueError: weights of another network.
    """
    layers = _alexnet() if network == "alex" else _vgg16()
    prefix = "features."
    weights = {k.removeprefix(prefix): v for k, v in trunk.items() if k.startswith(prefix)}
    return CalibratedFeatures(layers, TAPS[network], weights, linear)


def measured_by(
    distance: CalibratedFeatures, column: str, smallest: int, device: str
) -> Callable[[Iterable[Sample]], PerVideo]:
    """A function that measures a row's videos by a distance: `column`, and `column`_loop for loops.

    Args:
        distance: a distance, on `device`.
        column: its name.
        smallest: minimum image side in pixels.
        device: where to run it.
    """

    def mean(one: Tensor, other: Tensor) -> float:
        pairs = zip(one.split(BATCH), other.split(BATCH), strict=True)
        return torch.cat([distance(a.to(device), b.to(device)) for a, b in pairs]).mean().item()

    def measure(samples: Iterable[Sample]) -> PerVideo:
        scores: PerVideo = {}
        for sample in samples:
            height, width = sample.video.shape[-2:]
            if min(height, width) < smallest:
                raise NotMeasuredError(
                    f"videos of {height}x{width}; {column} needs {smallest} pixels a side"
                )
            values = scores[sample.clip, sample.seed] = {}
            if sample.truth is not None:
                values[column] = mean(sample.video[1:], sample.truth[1:])
            if sample.returns:
                values[f"{column}_loop"] = mean(sample.video[-1:], sample.video[:1])
        return scores

    return measure


def _alexnet() -> list[nn.Module]:
    """AlexNet as in torchvision, up to the last compared layer."""
    return [
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]


def _vgg16() -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        layers.append(nn.MaxPool2d(2))
    return layers[:-1]

"""Base of depth networks: loading weights, and aligning depth to the scale of the poses.

A network processes each frame independently. Its depth is aligned, frame by frame, to pixels of
known depth: from memory, the recording's sparse points, or its sensor. Networks of metric depth
also work without any, in metres; networks of relative depth do not.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras
from anchorweave.perception.alignment import Alignment, align_inverse
from anchorweave.perception.base import DepthNotFoundError, check_known_depth
from anchorweave.perception.weights import load_weights
from anchorweave.progress import progress

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class NetworkConfig:
    """Options of a depth network; none of them is given in the papers.

    Args:
        model: a folder with weights in transformers' layout, or a model name in the local Hugging
            Face cache. Nothing is downloaded.
        max_residual: frames whose aligned depth has a larger median relative error at known pixels
            are left without depth.

    Raises:
        ValueError: a residual that is not positive.
    """

    model: str
    max_residual: float = 0.15

    def __post_init__(self):
        if not self.max_residual > 0:
            raise ValueError(f"perception: max_residual={self.max_residual}: must be above 0")


class DepthNetwork(ABC):
    """Perception by a depth network; each network is a small file in this folder.

    Args:
        network: a transformers network, in evaluation mode.
        config: options.
    """

    name: str
    metric: bool = True

    def __init__(self, network: nn.Module, config: NetworkConfig):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network, self.config = network.to(self.device).eval(), config

    @abstractmethod
    def inverse_depth(self, frame: Float[Tensor, "3 H W"], camera: Cameras) -> Float[Tensor, "H W"]:
        """Inverse depth [H, W] of colours in [0, 1] (larger = nearer).

        In 1 / metres if the network is metric, else up to a scale and a shift.
        """

    def __call__(self, clip: Clip, known_depth: Float[Tensor, "T H W"] | None = None) -> Clip:
        """The clip with the network's depth, in the unit of the poses; 0 where it fits badly.

        Depth already in the clip is taken as sensor depth: it fixes the scale, and is then
        replaced.

        Args:
            clip: frames, cameras, and optionally sparse points or sensor depth.
            known_depth: depth from memory; kept where it is known.

        Raises:
            DepthNotFoundError: no known depth fixes the scale of relative depth, or no frame fits
                the known depth.
        """
        check_known_depth(clip, known_depth)
        prior = torch.zeros_like(clip.depth)
        for source in (clip.depth, clip.sparse, known_depth):
            if source is not None:
                prior = torch.where(source > 0, source, prior)
        predicted = torch.stack(
            [
                self.inverse_depth(clip.frames[i], clip.cameras[i]).cpu()
                for i in progress(range(len(clip)), f"depth by {self.name}")
            ]
        )
        fits = [
            align_inverse(p, k, shifted=not self.metric)
            for p, k in zip(predicted, prior, strict=True)
        ]
        depth = self._scaled(clip, predicted, fits)
        if known_depth is not None:
            depth = torch.where(known_depth > 0, known_depth, depth)
        return replace(clip, depth=depth)

    def _scaled(self, clip: Clip, predicted: Tensor, fits: list[Alignment | None]) -> Tensor:
        """Depth [T, H, W] after per-frame alignment; prints the residuals."""
        aligned = {i: fit for i, fit in enumerate(fits) if fit is not None}
        good = {i: fit for i, fit in aligned.items() if fit.residual <= self.config.max_residual}
        if not aligned and self.metric:
            print(f"depth by {self.name}: in metres; nothing known to align it to", file=sys.stderr)
            return torch.where(predicted > 0, 1 / predicted.clamp(min=1e-9), 0.0)
        if not aligned:
            raise DepthNotFoundError(
                f"perception={self.name}: {self.config.model} predicts relative depth, and nothing "
                f"fixes its scale in frames {clip.names[0]} .. {clip.names[-1]}: no "
                "sparse points, sensor or memory. Give a COLMAP project or a reconstructed video, "
                "or a network of metric depth, such as "
                "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf"
            )
        worst = max(aligned, key=lambda i: aligned[i].residual)
        residuals = torch.tensor([fit.residual for fit in aligned.values()])
        summary = (
            f"depth by {self.name}: {len(good)} of {len(clip)} frames aligned, residual "
            f"{residuals.median():.1%} (worst {aligned[worst].residual:.1%}, {clip.names[worst]})"
        )
        if not good:
            raise DepthNotFoundError(
                f"{summary}; none is within perception.{self.name}.max_residual="
                f"{self.config.max_residual:g}: wrong poses, or a scene unlike the network's "
                "training data"
            )
        print(summary, file=sys.stderr)
        if self.metric:
            # A metric network is off by one factor: frames without known depth use that of the
            # others.
            scales = torch.tensor([fit.scale for fit in good.values()])
            usual = Alignment(scales.median().item(), 0.0, 0.0, 0)
            fits = [good.get(i) or (None if i in aligned else usual) for i in range(len(clip))]
        else:
            fits = [good.get(i) for i in range(len(clip))]
        return torch.stack(
            [
                torch.zeros_like(p) if fit is None else fit.depth_of(p)
                for p, fit in zip(predicted, fits, strict=True)
            ]
        )


def load_network(kind: type, config: NetworkConfig, name: str, hub: str) -> nn.Module:
    """Loads a network from a folder or from the local Hugging Face cache.

    Args:
        kind: its transformers class.
        config: options.
        name: name of the perception plug-in, for messages.
        hub: hub name of suitable weights, for messages.

    Raises:
        FileNotFoundError: no weights; the message says what to download and where to put it.
    """
    asked, option = f"perception={name}", f"perception.{name}.model"
    return load_weights(kind, config.model, asked, option, hub)


def prepared(
    frame: Float[Tensor, "3 H W"],
    size: tuple[int, int],
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
    mode: str = "bicubic",
) -> Float[Tensor, "1 3 h w"]:
    """Colours in [0, 1], resized and normalised (mean and standard deviation) for a network."""
    mean, spread = (torch.tensor(values)[:, None, None] for values in statistics)
    resized = interpolate(frame[None].cpu(), size, mode=mode, antialias=True).clamp(0, 1)
    return (resized - mean) / spread


def at_size(values: Float[Tensor, "1 h w"], size: tuple[int, int]) -> Float[Tensor, "H W"]:
    """A map resized to the size of its frame."""
    return interpolate(values[:, None].float(), size, mode="bilinear", align_corners=False)[0, 0]


def fitting(size: tuple[int, int], shorter: int, multiple: int) -> tuple[int, int]:
    """`size` scaled to a shorter side of about `shorter`, both sides divisible by `multiple`."""
    scale = shorter / min(size)
    return tuple(max(1, round(side * scale / multiple)) * multiple for side in size)

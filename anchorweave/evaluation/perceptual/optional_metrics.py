"""The optional metrics, their requirements, and how they are loaded.

A per-video metric gives one or more numbers for every video; a per-set metric gives a single
distance for a row. Missing requirements are reported, never silently replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from anchorweave.evaluation.perceptual.feature_sets import SetDistance
from anchorweave.evaluation.perceptual.fid import load_fid
from anchorweave.evaluation.perceptual.fvd import load_fvd
from anchorweave.evaluation.perceptual.lpips_distance import load_lpips
from anchorweave.evaluation.perceptual.match_accuracy import load_match_accuracy
from anchorweave.evaluation.perceptual.samples import PerVideo, Sample
from anchorweave.evaluation.perceptual.shift_tolerant import load_shift_tolerant
from anchorweave.evaluation.perceptual.vbench_axes import AXES, load_vbench

Measure = Callable[[Iterable[Sample]], PerVideo | SetDistance]


@dataclass(frozen=True)
class PerceptualConfig:
    """Options of the optional metrics.

    Args:
        weights: the folder with their weights, see pretrained/README.md.
        device: where to run their networks: `auto` (a GPU if available), `cpu` or `cuda`.
        lpips_network: network whose features LPIPS compares. Not given in the papers; `alex` is
            what the authors of LPIPS use for evaluation.
        match_confidence: threshold of a high-confidence RoMa match. Not given in the paper
            (Spatia).
        vbench_python: path of the Python with VBench; null = this one.

    Raises:
        ValueError: an invalid device, or a confidence outside [0, 1).
    """

    weights: str = "pretrained/metrics"
    device: str = "auto"
    lpips_network: Literal["alex", "vgg"] = "alex"
    match_confidence: float = 0.5
    vbench_python: str | None = None

    def __post_init__(self):
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"device={self.device} is none of auto, cpu, cuda, cuda:N")
        if not 0 <= self.match_confidence < 1:
            raise ValueError(f"match_confidence={self.match_confidence}: must be in [0, 1)")

    def on(self) -> str:
        """The resolved device.

        Raises:
            ValueError: a GPU that is not available.
        """
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device={self.device}, but this machine has no CUDA GPU; use cpu")
        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self.device


@dataclass(frozen=True)
class OptionalMetric:
    """One metric.

    Args:
        what: what it measures.
        needs: its requirements, as weights or packages.
        kind: whether it has a value per video, or only one per set.
        columns: name of a value -> heading, with an arrow to the better direction.
        load: creates the function that measures it; raises NotMeasuredError if a requirement is
            missing.
    """

    what: str
    needs: str
    kind: Literal["per video", "per set"]
    columns: dict[str, str]
    load: Callable[[PerceptualConfig], Measure]


OPTIONAL_METRICS = {
    "lpips": OptionalMetric(
        "feature distance to the true frames, and of the last to the first frame",
        "torchvision's AlexNet (or VGG-16)",
        "per video",
        {"lpips": "LPIPS ↓", "lpips_loop": "LPIPS, last frame against first ↓"},
        lambda c: load_lpips(Path(c.weights), c.lpips_network, c.on()),
    ),
    "stlpips": OptionalMetric(
        "LPIPS with a network that tolerates shifts of a pixel",
        "the file from the package stlpips-pytorch",
        "per video",
        {"stlpips": "ST-LPIPS ↓", "stlpips_loop": "ST-LPIPS, last frame against first ↓"},
        lambda c: load_shift_tolerant(Path(c.weights), c.on()),
    ),
    "fid": OptionalMetric(
        "distance between all frames and all true ones",
        "Inception (2015) as TorchScript",
        "per set",
        {"fid": "FID ↓"},
        lambda c: load_fid(Path(c.weights), c.on()),
    ),
    "fvd": OptionalMetric(
        "distance between all videos and all true ones",
        "I3D as TorchScript",
        "per set",
        {"fvd": "FVD ↓"},
        lambda c: load_fvd(Path(c.weights), c.on()),
    ),
    "vbench": OptionalMetric(
        "six axes of VBench, without ground truth, and their mean",
        "vbench in a separate Python, and its networks",
        "per video",
        {axis: f"{axis.replace('_', ' ')} ↑" for axis in AXES} | {"total": "VBench total ↑"},
        lambda c: load_vbench(Path(c.weights), c.vbench_python, c.on()),
    ),
    "match_accuracy": OptionalMetric(
        "fraction of the first frame that RoMa matches in the last",
        "romatch, and weights of RoMa and DINOv2",
        "per video",
        {"match_accuracy": "match accuracy ↑"},
        lambda c: load_match_accuracy(Path(c.weights), c.match_confidence, c.on()),
    ),
}


def chosen_metrics(names: Sequence[Any]) -> dict[str, OptionalMetric]:
    """The metrics of those names.

    Raises:
        ValueError: no names, or an unknown one; the message lists the known ones.
    """
    choices = ", ".join(OPTIONAL_METRICS)
    if not names:
        raise ValueError(f"metrics=[]: name one or more of {choices}")
    if unknown := [str(name) for name in names if name not in OPTIONAL_METRICS]:
        raise ValueError(f"unknown metrics {', '.join(unknown)}; known: {choices}")
    return {name: OPTIONAL_METRICS[name] for name in names}

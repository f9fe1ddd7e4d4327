"""Match accuracy of a closed loop (Spatia, section 4): does the last frame show the first place?

The number of high-confidence RoMa matches between the first and the last frame, relative to that
between the first frame and itself. Matches are counted at the pixels of the first frame, at RoMa's
own resolution (864 x 864, regardless of the video's). The paper does not give the confidence
threshold: a config value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from anchorweave.evaluation.perceptual.samples import (
    NotMeasuredError,
    PerVideo,
    Sample,
    levels,
    load_tensors,
    weights_file,
)

FILE, DINO = "roma_outdoor.pth", "dinov2_vitl14_pretrain.pth"
SOURCE = f"https://github.com/Parskatt/storage/releases/download/roma/{FILE}"
DINO_SOURCE = f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/{DINO}"


def load_match_accuracy(
    folder: Path, confidence: float, device: str
) -> Callable[[Iterable[Sample]], PerVideo]:
    """A function that computes the match accuracy of a row's videos.

    Args:
        folder: contains RoMa's outdoor weights and DINOv2's.
        confidence: threshold in [0, 1] of a high-confidence match.
        device: where to run RoMa.

    Raises:
        NotMeasuredError: `romatch` or a file is missing.
    """
    matcher = _load_roma(folder, device)

    def measure(samples: Iterable[Sample]) -> PerVideo:
        scores: PerVideo = {}
        for sample in samples:
            if not sample.returns:
                raise NotMeasuredError("the camera does not end where it began; use closed_loop")
            value = match_accuracy(matcher, sample.video, confidence, device)
            scores[sample.clip, sample.seed] = {} if value is None else {"match_accuracy": value}
        return scores

    return measure


def match_accuracy(
    matcher: Any, video: Float[Tensor, "T 3 H W"], confidence: float, device: str
) -> float | None:
    """Matches between the first and the last frame, relative to self-matches of the first.

    Args:
        matcher: `match(image, image, device=...)` returns (warp, confidence [1, h, 2w]): for the
            first image's pixels, then the second's.
        video: in [0, 1].
        confidence: threshold of a high-confidence match.
        device: where to run the matcher.

    Returns:
        About [0, 1]; None if the first frame does not even match itself.
    """
    first, last = (_image(frame[None]) for frame in (video[0], video[-1]))

    def matches(image: Image.Image) -> int:
        with torch.inference_mode():
            _, certainty = matcher.match(first, image, device=device)
        of_first = certainty[..., : certainty.shape[-1] // 2]
        return int((of_first > confidence).sum())

    with_itself = matches(first)
    return matches(last) / with_itself if with_itself else None


def _load_roma(folder: Path, device: str) -> Any:
    try:
        from romatch import roma_outdoor
    except (ImportError, RuntimeError) as error:
        # A torchvision built for another torch raises the latter.
        raise NotMeasuredError(
            f"romatch cannot be imported ({error}); see requirements-eval.txt"
        ) from error
    weights = weights_file(folder, FILE, SOURCE)
    dino = weights_file(folder, DINO, DINO_SOURCE)
    return roma_outdoor(
        device=torch.device(device),
        weights=load_tensors(weights, device),
        dinov2_weights=load_tensors(dino, device),
        # The CUDA kernel is an optional extra of romatch; without it the result is the same, but
        # slower.
        use_custom_corr=device.startswith("cuda") and find_spec("local_corr") is not None,
    )


def _image(frame: Float[Tensor, "1 3 H W"]) -> Image.Image:
    return Image.fromarray(levels(frame)[0].byte().permute(1, 2, 0).numpy())

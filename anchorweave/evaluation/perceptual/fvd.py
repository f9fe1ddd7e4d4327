"""FVD: Fréchet distance of whole videos, with an I3D network (Unterthiner et al., 2018).

The network is the TorchScript file used by StyleGAN-V and most later code: I3D trained on
Kinetics-400, 400 features before the softmax. Its input is 8-bit levels, which it rescales and
resizes to 224 x 224 (bilinear, ignoring the aspect ratio), as StyleGAN-V calls it. All frames of a
video are used, including the given one; StyleGAN-V uses 16, so numbers are not comparable.
Covariances are unbiased here (N - 1), where StyleGAN-V divides by N.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

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

FILE = "i3d_torchscript.pt"
SOURCE = "https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1 (StyleGAN-V's)"
FEATURES = 400
# Three halvings of time leave 2 frames, the minimum for the last pooling.
FEWEST_FRAMES = 9


def load_fvd(folder: Path, device: str) -> Callable[[Iterable[Sample]], SetDistance]:
    """A function that computes the FVD of a row's videos.

    Args:
        folder: contains the network's file.
        device: where to run it.

    Raises:
        NotMeasuredError: the file is missing, or not this network.
    """
    path = weights_file(folder, FILE, SOURCE)
    network = load_torchscript(path, device)

    def features(video: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "1 D"]:
        if len(video) < FEWEST_FRAMES:
            raise NotMeasuredError(
                f"videos of {len(video)} frames; I3D halves time thrice and needs {FEWEST_FRAMES}"
            )
        batch = levels(video).permute(1, 0, 2, 3)[None].to(device)
        vector = network(batch, rescale=True, resize=True, return_features=True).flatten(1).cpu()
        if vector.shape[1] != FEATURES:
            raise NotMeasuredError(
                f"{path} gives {vector.shape[1]} features instead of {FEATURES}: not this I3D"
            )
        return vector

    return lambda samples: distance_of_sets(samples, features, "videos")

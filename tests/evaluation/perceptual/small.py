"""Small networks that stand for the large ones in what they are given and give, and samples."""

import torch
from torch import nn

from anchorweave.evaluation.perceptual.samples import Sample


class SmallInception(nn.Module):
    """Level sums of `across` x `down` parts of an image, as many features as Inception gives."""

    def __init__(self, down: int = 32, across: int = 64):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d((down, across))

    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features
        return self.pool(images.mean(1, keepdim=True)).flatten(1)


class SmallI3D(nn.Module):
    """Takes what I3D takes; resizes to 224 x 224 as it does, and pools."""

    def __init__(self, features: int = 400):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool3d((4, 10, features // 40))

    def forward(
        self,
        videos: torch.Tensor,
        rescale: bool = False,
        resize: bool = False,
        return_features: bool = False,
    ) -> torch.Tensor:
        assert rescale and resize and return_features
        size = [videos.shape[2], 224, 224]
        videos = nn.functional.interpolate(videos, size, mode="trilinear", align_corners=False)
        return self.pool(2 * videos.mean(1, keepdim=True) / 255 - 1).flatten(1)


def save(network, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.script(network).save(path)
    return network


def noise(shape, seed):
    """Of 8-bit levels, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator).float() / 255


def sample(number, frames=5, size=(16, 24), seed=0, truth=True, returns=False):
    shape = (frames, 3, *size)
    known = noise(shape, 100 + number) if truth else None
    return Sample(f"clip{number}", seed, noise(shape, 10 * number + seed), known, returns)

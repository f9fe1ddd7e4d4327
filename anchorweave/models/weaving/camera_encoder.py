"""Camera 0: features of the target camera path, for regions that no memory covers."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


class CameraEncoder(nn.Module):
    """Features of the target cameras for every woven backbone layer.

    They are constant over the tokens of a latent frame, so they are stored per frame.

    Args:
        dim: hidden width (half of it in the first layer).
        out_dim: width of the backbone.
        num_layers: number of woven backbone layers.
        temporal_compression: pixel frames per latent frame, a power of two.

    Raises:
        ValueError: a temporal compression that is not a power of two.

    Source: paper section 3.4, "target pose control"; sizes from the released code.
    """

    def __init__(self, dim: int, out_dim: int, num_layers: int, temporal_compression: int):
        super().__init__()
        halvings = round(math.log2(temporal_compression))
        if 2**halvings != temporal_compression:
            raise ValueError(
                f"camera poses are compressed in time by factors of two, which cannot give "
                f"{temporal_compression}; use a backbone whose compression is a power of two"
            )
        self.temporal_compression = temporal_compression
        self.compress = nn.Sequential(
            *(
                layer
                for _ in range(halvings)
                for layer in (nn.Conv1d(12, 12, 3, stride=2, padding=1), nn.GELU())
            )
        )
        self.embed = nn.ModuleList(
            nn.Sequential(nn.Linear(12, dim // 2), nn.GELU(), nn.Linear(dim // 2, dim))
            for _ in range(num_layers)
        )
        self.project = nn.ModuleList(nn.Linear(dim, out_dim) for _ in range(num_layers))
        for project in self.project:
            nn.init.zeros_(project.weight)
            nn.init.zeros_(project.bias)

    def forward(self, target2first: Float[Tensor, "B T 4 4"]) -> list[Float[Tensor, "B t D"]]:
        """One [B, t, out_dim] per layer.

        Args:
            target2first: each target camera relative to the first, T = (t - 1) * compression + 1.

        Raises:
            ValueError: an invalid number of cameras.
        """
        T = target2first.shape[1]
        if (T - 1) % self.temporal_compression:
            raise ValueError(
                f"{T} target cameras are not {self.temporal_compression} * k + 1; "
                "give one per pixel frame of the video"
            )
        pose = rearrange(target2first[:, :, :3], "B T i j -> B (i j) T")
        if T > 1:
            pose = torch.cat([pose[..., :1], self.compress(pose[..., 1:])], dim=2)
        pose = rearrange(pose, "B c t -> B t c")
        return [
            project(embed(pose)) for embed, project in zip(self.embed, self.project, strict=True)
        ]

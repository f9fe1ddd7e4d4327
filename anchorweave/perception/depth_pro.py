"""Depth Pro (arXiv 2410.02073), via transformers: sharp metric depth; large and slow."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DepthProForDepthEstimation

from anchorweave.geometry.cameras import Cameras
from anchorweave.perception.depth_network import (
    HALVES,
    DepthNetwork,
    NetworkConfig,
    at_size,
    load_network,
    prepared,
)


class DepthPro(DepthNetwork):
    """Metric depth, using the camera's focal length instead of the network's estimate."""

    name = "depth_pro"
    hub = "apple/DepthPro-hf"

    def __init__(self, config: NetworkConfig):
        network = load_network(DepthProForDepthEstimation, config, self.name, self.hub)
        super().__init__(network, config)

    @torch.no_grad()
    def inverse_depth(self, frame: Float[Tensor, "3 H W"], camera: Cameras) -> Float[Tensor, "H W"]:
        """See the base class."""
        sizes = self.network.config
        # Its smallest scaled copy of the image is exactly one patch.
        side = round(sizes.patch_size / min(sizes.scaled_images_ratios))
        pixels = prepared(frame, (side, side), HALVES, "bilinear").to(self.device)
        canonical = at_size(self.network(pixels).predicted_depth, camera.size)
        # It predicts inverse depth for a camera whose focal length equals the image width.
        return canonical * camera.size[1] / camera.K[0, 0].item()

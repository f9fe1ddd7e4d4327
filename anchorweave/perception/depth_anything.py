"""Depth Anything V1 and V2, relative and metric (arXiv 2406.09414), via transformers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DepthAnythingForDepthEstimation

from anchorweave.geometry.cameras import Cameras
from anchorweave.perception.depth_network import (
    IMAGENET,
    DepthNetwork,
    NetworkConfig,
    at_size,
    fitting,
    load_network,
    prepared,
)

# The shorter image side used in training, and the patch size.
SHORTER_SIDE = 518


class DepthAnything(DepthNetwork):
    """Relative inverse depth or metric depth, depending on the weights' config."""

    name = "depth_anything"
    hub = "depth-anything/Depth-Anything-V2-Small-hf"

    def __init__(self, config: NetworkConfig):
        network = load_network(DepthAnythingForDepthEstimation, config, self.name, self.hub)
        super().__init__(network, config)
        self.metric = network.config.depth_estimation_type == "metric"

    @torch.no_grad()
    def inverse_depth(self, frame: Float[Tensor, "3 H W"], camera: Cameras) -> Float[Tensor, "H W"]:
        """See the base class."""
        patch = self.network.config.patch_size
        size = fitting(camera.size, SHORTER_SIDE, patch)
        pixels = prepared(frame, size, IMAGENET).to(self.device)
        prediction = at_size(self.network(pixels).predicted_depth, camera.size)
        return 1 / prediction.clamp(min=1e-3) if self.metric else prediction

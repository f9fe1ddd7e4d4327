"""ZoeDepth (arXiv 2302.12288), via transformers: metric depth, indoors and outdoors."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad
from transformers import ZoeDepthForDepthEstimation

from anchorweave.geometry.cameras import Cameras
from anchorweave.perception.depth_network import (
    HALVES,
    DepthNetwork,
    NetworkConfig,
    at_size,
    fitting,
    load_network,
    prepared,
)

SHORTER_SIDE, MULTIPLE = 384, 32


class Zoe(DepthNetwork):
    """Metric depth; frames are padded by reflection, as the network is inaccurate at borders."""

    name = "zoe"
    hub = "Intel/zoedepth-nyu-kitti"

    def __init__(self, config: NetworkConfig):
        network = load_network(ZoeDepthForDepthEstimation, config, self.name, self.hub)
        super().__init__(network, config)

    @torch.no_grad()
    def inverse_depth(self, frame: Float[Tensor, "3 H W"], camera: Cameras) -> Float[Tensor, "H W"]:
        """See the base class."""
        H, W = camera.size
        top, left = (min(int(3 * math.sqrt(side / 2)), side - 1) for side in (H, W))
        padded = pad(frame[None], (left, left, top, top), mode="reflect")[0]
        whole = (H + 2 * top, W + 2 * left)
        pixels = prepared(padded, fitting(whole, SHORTER_SIDE, MULTIPLE), HALVES)
        prediction = at_size(self.network(pixels.to(self.device)).predicted_depth, whole)
        return 1 / prediction[top : top + H, left : left + W].clamp(min=1e-3)

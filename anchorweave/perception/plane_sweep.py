"""Depth for frames with known cameras by multi-view photo-consistency, without a network.

Every frame is compared with a few other frames through planes at many depths; the plane with the
best match gives the depth. Works for static, textured surfaces seen from at least two places; blank
walls, mirrors and moving objects stay unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import project, unproject
from anchorweave.perception.base import DepthNotFoundError, check_known_depth
from anchorweave.perception.cost_volume import photo_cost, semi_global, winner
from anchorweave.progress import progress

# Search for the depth range: small images of a few frames, many planes, widely spaced sources.
SCOUT_HEIGHT, SCOUT_FRAMES, SCOUT_PLANES = 64, 6, 64
SCOUT_BASELINES = (0.1, 0.25, 0.45, 0.7)
SCOUT_MAX_COST = 0.1
# Smallest baseline used, as a share of the largest one among views of similar direction.
SCOUT_LEAST_BASELINE = 0.1
# Minimum number of depths that determine a range.
FEWEST_KNOWN = 20
# Views whose directions differ by more than this see different sides of objects.
MAX_VIEW_ANGLE = math.radians(40)


@dataclass(frozen=True)
class PlaneSweepConfig:
    """Options of the plane sweep; none of them is given in the paper.

    Args:
        planes: depth hypotheses per pixel, evenly spaced in 1 / depth.
        sources: number of other frames that each frame is compared with.
        window: side of the matching window in pixels, odd.
        near: nearest depth tested; None = from known depth, else from sparse points, else from a
            coarse sweep.
        far: farthest depth tested; None = likewise.
        margin: factor by which an estimated range is widened at both ends.
        angle: preferred parallax of sources at mid depth, in degrees.
        min_overlap: fraction of a frame that a source must see, in [0, 1].
        small_jump: smoothness penalty of a step to the next plane between neighbouring pixels.
        large_jump: smoothness penalty of a larger step where the image is flat.
        tolerance: relative depth difference up to which two views agree.
        min_confidence: estimates below this are dropped, in [0, 1].
    """

    planes: int = 96
    sources: int = 4
    window: int = 7
    near: float | None = None
    far: float | None = None
    margin: float = 1.3
    angle: float = 6.0
    min_overlap: float = 0.5
    small_jump: float = 0.01
    large_jump: float = 0.2
    tolerance: float = 0.03
    min_confidence: float = 0.4

    def __post_init__(self):
        checks = {
            "planes must be at least 3": self.planes >= 3,
            "sources must be at least 1": self.sources >= 1,
            "window must be odd and positive": self.window >= 1 and self.window % 2 == 1,
            "near must be positive": self.near is None or self.near > 0,
            "far must be beyond near and finite": (
                self.far is None or (self.near or 0) < self.far < math.inf
            ),
            "margin must be at least 1": self.margin >= 1,
            "angle must be positive": self.angle > 0,
            "min_overlap must lie in [0, 1]": 0 <= self.min_overlap <= 1,
            "jumps must be 0 < small <= large": 0 < self.small_jump <= self.large_jump,
            "tolerance must be positive": self.tolerance > 0,
            "min_confidence must lie in [0, 1]": 0 <= self.min_confidence <= 1,
        }
        if broken := [rule for rule, holds in checks.items() if not holds]:
            raise ValueError(f"plane sweep: {'; '.join(broken)}; got {self}")


class PlaneSweep:
    """Perception by plane sweep, on a GPU if there is one; ignores the clip's own depth."""

    def __init__(self, config: PlaneSweepConfig):
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def __call__(self, clip: Clip, known_depth: Float[Tensor, "T H W"] | None = None) -> Clip:
        """The clip with estimated depth, 0 where it is not confident; see `plane_sweep`."""
        known = None if known_depth is None else known_depth.to(self.device)
        depth, _ = plane_sweep(clip.to(self.device), self.config, known)
        return replace(clip, depth=depth.to(clip.depth.device))


def plane_sweep(
    clip: Clip, config: PlaneSweepConfig, known_depth: Float[Tensor, "T H W"] | None = None
) -> tuple[Float[Tensor, "T H W"], Float[Tensor, "T H W"]]:
    """Depth and its confidence for every frame of a clip.

    Args:
        clip: frames and cameras of a static scene.
        config: options.
        known_depth: prior [T, H, W], 0 where unknown; kept bit for bit where known.

    Returns:
        Depth (0 where confidence is below `config.min_confidence`) and confidence in [0, 1] (1
        where depth was known): the correlation with the sources, times the fraction of their better
        half whose own depth agrees.

    Raises:
        DepthNotFoundError: no depth is known and none can be estimated, because the cameras do not
            move or nothing matches.
        ValueError: a prior that does not fit.
    """
    check_known_depth(clip, known_depth)
    depth = torch.zeros_like(clip.depth) if known_depth is None else known_depth.clone()
    known = depth > 0
    sources: list[list[int]] = [[] for _ in range(len(clip))]
    # Half precision is too coarse for variances; gradients are not supported.
    precise = torch.promote_types(clip.frames.dtype, torch.float32)
    grey = clip.frames.detach().mean(dim=1, dtype=precise)
    if not known.all() and _moves(clip.cameras):
        bounds = depth[known]
        if clip.sparse is not None and not len(bounds):
            bounds = clip.sparse[clip.sparse > 0]
        near, far = _depth_range(grey, clip, config, bounds)
        planes = torch.linspace(1 / far, 1 / near, config.planes).to(grey)
        sources = [_sources(clip.cameras, i, near, far, config) for i in range(len(clip))]
    if not known.any() and not any(sources):
        raise DepthNotFoundError(
            f"plane sweep needs a translating camera, but the {len(clip)} "
            f"frames {clip.names[0]} .. {clip.names[-1]} have no parallax (one frame, a still, a "
            f"pure rotation) or no overlap; add frames from elsewhere, or {_other_depth(clip)}"
        )
    correlation = known.to(depth)
    for i, chosen in progress(enumerate(sources), "estimating depth", len(sources)):
        if not chosen or known[i].all():
            continue
        _, inverse_depth, cost = _sweep(grey, clip.cameras, i, chosen, planes, config, depth[i])
        depth[i] = torch.where(known[i], depth[i], 1 / inverse_depth)
        # The cost is (1 - correlation) / 2.
        correlation[i] = torch.where(known[i], correlation[i], (1 - 2 * cost).clamp(min=0))
    agreement = torch.stack(
        [_agreement(depth, clip.cameras, i, sources[i], config) for i in range(len(clip))]
    )
    confidence = torch.where(known, torch.ones_like(depth), correlation * agreement)
    return torch.where(confidence >= config.min_confidence, depth, 0.0), confidence


def _sweep(
    grey: Tensor,
    cameras: Cameras,
    i: int,
    sources: list[int],
    planes: Tensor,
    config: PlaneSweepConfig,
    known: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Plane index, inverse depth and cost of frame i, [H, W]; `planes` are inverse depths [D]."""
    volume = photo_cost(grey[i], cameras[i], grey[sources], cameras[sources], planes, config.window)
    cost = volume
    if (known > 0).any():
        # Where depth is known, all other planes get the maximum cost; smoothing then propagates
        # from there.
        spacing = (planes[-1] - planes[0]) / (len(planes) - 1)
        steps = (planes[:, None, None] - 1 / known.clamp(min=1e-12)).abs() / spacing
        cost = torch.where(known > 0, (steps / 2).clamp(max=1.0), volume)
    index, inverse_depth = winner(
        semi_global(cost, grey[i], config.small_jump, config.large_jump), planes
    )
    return index, inverse_depth, volume.gather(0, index.round().long()[None])[0]


def _agreement(
    depth: Tensor, cameras: Cameras, i: int, sources: list[int], config: PlaneSweepConfig
) -> Tensor:
    """Fraction of the better half of the sources whose own depth agrees with frame i's, [H, W]."""
    votes = torch.zeros_like(depth[i])
    if not sources:
        return votes
    height, width = cameras.size
    points = unproject(depth[i], cameras[i]).reshape(-1, 3)
    position, z = project(points, cameras[sources])  # [S, H*W]
    for s, source in enumerate(sources):
        x, y = position[s].floor().long().unbind(-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (z[s] > 0)
        source_depth = depth[source][y.clamp(0, height - 1), x.clamp(0, width - 1)]
        agrees = (
            inside & (source_depth > 0) & ((source_depth - z[s]).abs() < config.tolerance * z[s])
        )
        votes += agrees.reshape(votes.shape)
    return (votes / ((len(sources) + 1) // 2)).clamp(max=1.0)


def _sources(
    cameras: Cameras, i: int, near: float, far: float, config: PlaneSweepConfig
) -> list[int]:
    """The best source frames for frame i: enough overlap, a parallax of a few degrees."""
    middle = 2 / (1 / near + 1 / far)
    coarse = cameras[i].resized((8, 8))
    grid = torch.stack(
        [unproject(coarse.c2w.new_full((8, 8), z), coarse) for z in (near, middle, far)]
    )
    position, z = project(grid.reshape(-1, 3), cameras)  # [T, P]
    limit = position.new_tensor(cameras.size[::-1])
    overlap = ((position > 0) & (position < limit)).all(-1).logical_and(z > 0).float().mean(-1)
    ahead = unproject(coarse.c2w.new_full((8, 8), middle), coarse)[4, 4]
    rays = functional.normalize(ahead - cameras.centres, dim=-1)
    parallax = torch.rad2deg(
        torch.atan2(torch.linalg.cross(rays, rays[i].expand_as(rays)).norm(dim=-1), rays @ rays[i])
    )
    # Too little parallax makes depth inaccurate; too much makes windows look different.
    score = overlap * torch.minimum(parallax / config.angle, config.angle / parallax.clamp(1e-9))
    usable = (overlap >= config.min_overlap) & (parallax > config.angle / 12)
    usable[i] = False
    order = torch.where(usable, score, -1.0).argsort(descending=True, stable=True)
    return order[: min(config.sources, int(usable.sum()))].tolist()


def _depth_range(
    grey: Tensor, clip: Clip, config: PlaneSweepConfig, known: Tensor
) -> tuple[float, float]:
    """Nearest and farthest depth to test: configured, from known depth, or from a coarse sweep."""
    if config.near is not None and config.far is not None:
        return config.near, config.far
    depths = known if len(known) >= FEWEST_KNOWN else _scout(grey, clip, config)
    depths = depths[:: math.ceil(len(depths) / 100_000)]
    low, high = depths.quantile(depths.new_tensor([0.02, 0.98])).tolist()
    near, far = config.near or low / config.margin, config.far or high * config.margin
    if near >= far:
        raise ValueError(
            f"plane sweep: the depth range is {near:g} to {far:g}, but {low:g} .. {high:g} "
            "was found in the scene; set both near and far"
        )
    return near, far


def _scout(grey: Tensor, clip: Clip, config: PlaneSweepConfig) -> Tensor:
    """Depths [P] of well-matched pixels in a few small frames, at all depths with parallax.

    Only baselines are known at this point, so they bound the sweep: from where the widest source
    sees a point from 45 degrees aside, to where parallax falls below a pixel.
    """
    height = min(SCOUT_HEIGHT, grey.shape[1])
    size = (height, max(round(grey.shape[2] * height / grey.shape[1]), 1))
    cameras = clip.cameras.resized(size)
    grey = functional.interpolate(grey[:, None], size=size, mode="area")[:, 0]
    sampled = []
    for i in torch.linspace(0, len(grey) - 1, min(SCOUT_FRAMES, len(grey))).round().int().tolist():
        baseline = (cameras.centres - cameras.centres[i]).norm(dim=-1)
        forward = cameras.c2w[:, :3, 2]
        beside = forward @ forward[i] > math.cos(MAX_VIEW_ANGLE)
        # Of a camera that stood still for a while, jitter is no parallax.
        beside &= baseline > SCOUT_LEAST_BASELINE * baseline[beside].max()
        order = baseline.argsort()[beside[baseline.argsort()]]
        if not len(order):
            continue
        chosen = sorted({int(order[int(q * len(order))]) for q in SCOUT_BASELINES})
        reach = baseline[chosen].max().item()
        focal = cameras.K[i, 0, 0].item()
        planes = torch.linspace(1 / (focal * reach), 1 / reach, SCOUT_PLANES).to(grey)
        index, inverse_depth, cost = _sweep(
            grey, cameras, i, chosen, planes, config, torch.zeros_like(grey[i])
        )
        sure = cost < SCOUT_MAX_COST
        # The end planes also stand for everything beyond them.
        sampled.append(1 / inverse_depth[sure & (index > 1) & (index < SCOUT_PLANES - 2)])
    depths = torch.cat(sampled) if sampled else grey.new_zeros(0)
    if len(depths) < 0.01 * grey[0].numel():
        raise DepthNotFoundError(
            f"plane sweep found no depth at which the frames {clip.names[0]} .. {clip.names[-1]} "
            "match: too little parallax, no texture, or wrong cameras; set near and far, or "
            f"{_other_depth(clip)}"
        )
    return depths


def _other_depth(clip: Clip) -> str:
    if (clip.depth > 0).any():
        return "use recorded depth (perception=recorded)"
    return (
        "use a depth network (perception=depth_anything, depth_pro or zoe), or add depth maps "
        "to the recording, which has none (data/README.md)"
    )


def _moves(cameras: Cameras) -> bool:
    """Whether any two cameras are at different places, beyond rounding."""
    apart = (cameras.centres - cameras.centres[:1]).norm(dim=-1).max()
    return bool(apart > 1e-5 * (1 + cameras.centres.abs().max()))

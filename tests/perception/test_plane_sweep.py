import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import pixel_centres
from anchorweave.geometry.trajectories import trajectory
from anchorweave.perception.plane_sweep import (
    PlaneSweep,
    PlaneSweepConfig,
    plane_sweep,
)
from tests.alike import alike_pictures

KITCHEN = Path(__file__).parents[2].parent / "shared/data/kitchen"
SIZE = (60, 80)
# Two slanted walls that meet in an edge, and a board in front: normal, distance, reach in x and y.
WALLS = [
    ((0.5, 0.1, -1.0), 3.0, None),
    ((-0.6, 0.0, -1.0), 3.2, None),
    ((0.1, -0.1, -1.0), 1.6, ((-0.5, 0.1), (-0.3, 0.4))),
]


def ray_cast(cameras):
    """Frames [T, 3, H, W] and exact depth [T, H, W] of the walls, in closed form."""
    generator = torch.Generator().manual_seed(7)
    rays = torch.cat(
        [
            (pixel_centres(cameras.size, cameras.K) - cameras.K[0, :2, 2])
            / cameras.K[0, [0, 1], [0, 1]],
            torch.ones(*cameras.size, 1),
        ],
        dim=-1,
    )
    rays = torch.einsum("tij,hwj->thwi", cameras.c2w[:, :3, :3], rays)
    centres = cameras.centres[:, None, None]
    depth = torch.full(rays.shape[:-1], math.inf)
    frames = torch.zeros(*rays.shape[:-1], 3)
    for normal, distance, reach in WALLS:
        normal = torch.tensor(normal)
        # The wall is normal . x = -distance; a ray is scaled so that z = 1, so t is depth.
        t = -(distance + centres @ normal) / (rays @ normal)
        points = centres + t[..., None] * rays
        waves = torch.randn(24, 3, generator=generator) * 7
        phases = torch.rand(24, 3, generator=generator) * 2 * math.pi
        colour = 0.5 + 0.1 * (points @ waves.T)[..., None].add(phases).sin().sum(-2)
        hit = (t > 0) & (t < depth)
        if reach is not None:
            for axis, (low, high) in enumerate(reach):
                hit &= (points[..., axis] > low) & (points[..., axis] < high)
        depth = torch.where(hit, t, depth)
        frames = torch.where(hit[..., None], colour, frames)
    return frames.clamp(0, 1).permute(0, 3, 1, 2).contiguous(), depth


def scene(spec="move_right:3, move_up:2", frames=6, size=SIZE):
    focal = float(size[1])
    K = intrinsics(focal, focal, size[1] / 2, size[0] / 2)
    start = Cameras(torch.eye(4), K, size)
    cameras = trajectory(spec, start, frames, unit=3.0)
    images, depth = ray_cast(cameras)
    assert depth.isfinite().all()
    names = tuple(f"frame-{i}" for i in range(frames))
    return Clip(images, torch.zeros_like(depth), cameras, names), depth


@pytest.fixture(scope="module")
def swept():
    clip, truth = scene()
    return clip, truth, *plane_sweep(clip, PlaneSweepConfig())


def relative_error(depth, truth):
    there = (depth > 0) & (truth > 0)
    return ((depth - truth).abs() / truth)[there]


def test_finds_the_depth_of_textured_walls(swept):
    _, truth, depth, _ = swept
    error = relative_error(depth, truth)
    assert error.median() < 0.03
    assert (error > 0.1).float().mean() < 0.06
    assert (depth > 0).float().mean() > 0.5


def test_confidence_says_which_estimates_are_kept_and_good(swept):
    clip, truth, depth, confidence = swept
    assert confidence.min() >= 0 and confidence.max() <= 1
    assert torch.equal(depth > 0, confidence >= PlaneSweepConfig().min_confidence)
    everything, same = plane_sweep(clip, PlaneSweepConfig(min_confidence=0.0))
    assert alike_pictures(same, confidence)
    unsure = confidence < PlaneSweepConfig().min_confidence
    error = (everything - truth).abs() / truth
    assert error[unsure].mean() > 3 * error[~unsure].mean()


def test_is_deterministic_and_ignores_the_clips_own_depth(swept):
    clip, _, depth, _ = swept
    spoilt = replace(clip, depth=torch.full_like(clip.depth, 9.0))
    assert alike_pictures(PlaneSweep(PlaneSweepConfig())(spoilt).depth, depth)


def test_follows_the_scale_of_the_scene(swept):
    clip, _, depth, _ = swept
    c2w = clip.cameras.c2w.clone()
    c2w[:, :3, 3] *= 50
    big = replace(clip, cameras=replace(clip.cameras, c2w=c2w))
    scaled, _ = plane_sweep(big, PlaneSweepConfig())
    both = (scaled > 0) & (depth > 0)
    assert both.sum() > 0.95 * (depth > 0).sum()
    assert (scaled / 50 / depth - 1)[both].abs().median() < 1e-3


def test_known_depth_is_kept_and_the_rest_is_filled():
    clip, truth = scene(frames=4)
    known = truth.clone()
    known[1:, :, 40:] = 0
    depth, confidence = plane_sweep(clip, PlaneSweepConfig(), known)
    assert torch.equal(depth[known > 0], known[known > 0])
    assert (confidence[known > 0] == 1).all()
    filled = depth[1:, :, 40:]
    assert (filled > 0).float().mean() > 0.4
    assert relative_error(filled, truth[1:, :, 40:]).median() < 0.03


def test_known_depth_limits_the_search():
    clip, truth = scene(frames=4)
    known = torch.zeros_like(truth)
    known[:, :, :10] = 1.9
    config = PlaneSweepConfig(margin=1.1, min_confidence=0.0)
    depth, _ = plane_sweep(clip, config, known)
    assert depth[known == 0].min() >= 1.9 / 1.1 - 1e-4
    assert depth[known == 0].max() <= 1.9 * 1.1 + 1e-4


def test_configured_range_limits_the_search():
    clip, _ = scene(frames=4)
    config = PlaneSweepConfig(near=1.0, far=2.0, planes=24, min_confidence=0.0)
    depth, _ = plane_sweep(clip, config)
    assert depth.min() >= 1.0 - 1e-4 and depth.max() <= 2.0 + 1e-4
    with pytest.raises(ValueError, match="set both near and far"):
        plane_sweep(clip, PlaneSweepConfig(near=90.0))


def test_blank_surfaces_stay_unknown():
    clip, _ = scene(frames=4)
    frames = clip.frames.clone()
    frames[..., 40:] = 0.5
    depth, _ = plane_sweep(replace(clip, frames=frames), PlaneSweepConfig())
    assert (depth[..., 48:] > 0).float().mean() < 0.05
    assert (depth[..., :36] > 0).float().mean() > 0.3


@pytest.mark.parametrize(("spec", "frames"), [("static", 1), ("static", 4), ("pan", 4)])
def test_without_parallax_only_known_depth_is_kept(spec, frames):
    clip, truth = scene("static", frames)
    clip = replace(clip, cameras=trajectory(spec, clip.cameras[0], frames, 1.0))
    with pytest.raises(ValueError, match="needs a translating camera.*no parallax"):
        plane_sweep(clip, PlaneSweepConfig())
    known = truth.clone()
    known[:, :20] = 0
    depth, confidence = plane_sweep(clip, PlaneSweepConfig(), known)
    assert torch.equal(depth, known) and torch.equal(confidence, (known > 0).float())


def test_all_known_comes_back_untouched():
    clip, truth = scene(frames=2)
    depth, confidence = plane_sweep(clip, PlaneSweepConfig(), truth)
    assert torch.equal(depth, truth) and (confidence == 1).all()


def test_frames_that_do_not_match_are_refused():
    clip, _ = scene(frames=4)
    noise = torch.rand(clip.frames.shape, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="found no depth at which the frames frame-0 .. frame-3"):
        plane_sweep(replace(clip, frames=noise), PlaneSweepConfig())


def test_a_prior_that_does_not_fit_is_refused():
    clip, truth = scene(frames=2)
    with pytest.raises(ValueError, match=r"known depth is \[1, 60, 80\] but the clip is"):
        plane_sweep(clip, PlaneSweepConfig(), truth[:1])
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="negative, infinite or NaN"):
            plane_sweep(clip, PlaneSweepConfig(), torch.full_like(truth, bad))


@pytest.mark.parametrize(
    "options",
    [
        {"planes": 2},
        {"sources": 0},
        {"window": 4},
        {"near": 0.0},
        {"near": 2.0, "far": 1.0},
        {"margin": 0.5},
        {"angle": 0.0},
        {"min_overlap": 1.5},
        {"small_jump": 0.5},
        {"tolerance": 0.0},
        {"min_confidence": float("nan")},
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=f"plane sweep: .*{min(options).split('_')[-1]}"):
        PlaneSweepConfig(**options)


@pytest.mark.skipif(not KITCHEN.is_dir(), reason=f"needs the recording in {KITCHEN}")
def test_agrees_with_a_real_depth_sensor():
    size, indices = (120, 160), range(500, 597, 16)
    scale = size[1] / 640
    frames, depth, poses = [], [], []
    for i in indices:
        stem = f"{KITCHEN}/frame-{i:06d}"
        with Image.open(f"{stem}.color.jpg") as image:
            frames.append(np.asarray(image.resize(size[::-1], Image.Resampling.BOX)) / 255)
        with Image.open(f"{stem}.depth.png") as image:
            depth.append(np.asarray(image).astype(np.float32))
        poses.append(np.loadtxt(f"{stem}.pose.txt"))
    depth = torch.tensor(np.stack(depth))
    depth = torch.where(depth < 65535, depth / 1000, 0.0)
    # The colour camera sees wider (about 525 px) than the depth camera (585 px) beside it.
    x, y = ((pixel_centres(size, depth) / scale - torch.tensor([320.0, 240.0])) * 585 / 525).unbind(
        -1
    )
    x, y = (x + 320).floor().long(), (y + 240).floor().long()
    inside = (x >= 0) & (x < 640) & (y >= 0) & (y < 480)
    sensor = torch.where(inside, depth[:, y.clamp(0, 479), x.clamp(0, 639)], 0.0)
    c2w = torch.tensor(np.stack(poses), dtype=torch.float32)
    c2w[:, 3] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    K = intrinsics(525 * scale, 525 * scale, 320 * scale, 240 * scale).expand(len(c2w), 3, 3)
    images = torch.tensor(np.stack(frames), dtype=torch.float32).permute(0, 3, 1, 2).contiguous()
    names = tuple(str(i) for i in indices)
    clip = Clip(images, torch.zeros_like(sensor), Cameras(c2w, K, size), names)
    found, _ = plane_sweep(clip, PlaneSweepConfig())
    error = relative_error(found, sensor)
    # Poses that drift by centimetres over baselines of decimetres leave a few percent.
    assert (found > 0).float().mean() > 0.35
    assert error.median() < 0.07


def test_sparse_points_bound_the_sweep_in_the_place_of_a_search(monkeypatch):
    # Planes between the nearest and the farthest sparse point: nothing is searched for.
    monkeypatch.setattr("anchorweave.perception.plane_sweep._scout", None)
    clip, exact = scene(frames=3, size=(30, 40))
    sparse = torch.zeros_like(exact)
    sparse[:, ::3, ::3] = exact[:, ::3, ::3]
    bounded = replace(clip, depth=torch.zeros_like(exact), sparse=sparse)
    depth, _ = plane_sweep(bounded, PlaneSweepConfig(planes=48))
    found = depth > 0
    low, high = sparse[sparse > 0].min() / 1.3, 1.3 * sparse.max()
    assert found.float().mean() > 0.3
    assert (depth[found] >= 0.99 * low).all() and (depth[found] <= 1.01 * high).all()
    assert ((depth - exact).abs() / exact)[found].median() < 0.03
    # Too few of them bound nothing.
    few = torch.zeros_like(sparse)
    few[0, 0, :5] = exact[0, 0, :5]
    with pytest.raises(TypeError):
        plane_sweep(replace(bounded, sparse=few), PlaneSweepConfig(planes=48))


def test_a_camera_that_stood_still_for_a_while(swept):
    """Its jitter is no parallax: the depth range is found from the frame that moved away."""
    clip, truth = scene("move_right:1", frames=2)
    wobble = clip.cameras.c2w[[0, 0, 0, 0, 1]].clone()
    wobble[:4, 0, 3] += torch.tensor([0.0, 1e-4, 2e-4, 1e-4])
    cameras = Cameras(wobble, clip.cameras.K[[0, 0, 0, 0, 1]], clip.cameras.size)
    frames, depth = ray_cast(cameras)
    still = Clip(frames, torch.zeros_like(depth), cameras, tuple("abcde"))
    found, _ = plane_sweep(still, PlaneSweepConfig())
    error = relative_error(found, depth)
    assert len(error) > 0.2 * found.numel() and error.median() < 0.05


def test_frames_in_half_precision_that_require_grad():
    clip, truth = scene()
    halved = replace(clip, frames=clip.frames.half().requires_grad_())
    found, _ = plane_sweep(halved, PlaneSweepConfig())
    assert relative_error(found, truth).median() < 0.03

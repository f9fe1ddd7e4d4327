import math

import pytest
import torch

from anchorweave.geometry.cameras import (
    Cameras,
    intrinsics,
    inverse_rigid,
    join_cameras,
    rotation_angle,
    slerp,
)
from anchorweave.geometry.projection import project, unproject


def random_pose(count, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=dtype))
    q = q * torch.sign(torch.diagonal(r, dim1=-2, dim2=-1))[:, None]
    q[torch.det(q) < 0] *= -1
    pose = torch.eye(4, dtype=dtype).repeat(count, 1, 1)
    pose[:, :3, :3] = q
    pose[:, :3, 3] = torch.randn(count, 3, generator=generator, dtype=dtype)
    return pose


def cameras(count=5, size=(6, 8), dtype=torch.float64):
    K = intrinsics(7.0, 7.5, 3.8, 3.1, dtype=dtype).expand(count, 3, 3)
    return Cameras(random_pose(count, dtype=dtype), K, size)


def yaw(angle):
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)


def test_inverse_of_a_rigid_transform():
    pose = random_pose(20)
    torch.testing.assert_close(inverse_rigid(pose) @ pose, torch.eye(4).double().expand(20, 4, 4))


def test_relative_pose_maps_target_points_into_the_source_camera():
    target, source = cameras()[0], cameras()[1]
    point = torch.tensor([0.3, -0.2, 2.0, 1.0], dtype=torch.float64)
    in_source = target.relative_to(source) @ point
    torch.testing.assert_close(source.c2w @ in_source, target.c2w @ point)
    torch.testing.assert_close(target.relative_to(target), torch.eye(4).double())


def test_unproject_then_project_returns_to_the_pixel_centres():
    cams = cameras()
    depth = torch.rand(5, 6, 8, dtype=torch.float64) + 0.5
    points = unproject(depth, cams)
    for i, camera in enumerate(cams):
        pixels, z = project(points[i].reshape(-1, 3), camera)
        torch.testing.assert_close(z.reshape(6, 8), depth[i])
        torch.testing.assert_close(pixels[0], torch.tensor([0.5, 0.5]).double())
        torch.testing.assert_close(pixels[-1], torch.tensor([7.5, 5.5]).double())


def test_projecting_into_many_cameras_equals_each_alone():
    points = torch.randn(11, 3, dtype=torch.float64)
    together, depths = project(points, cameras())
    for i, camera in enumerate(cameras()):
        alone, depth = project(points, camera)
        torch.testing.assert_close(together[i], alone)
        torch.testing.assert_close(depths[i], depth)


def test_resizing_and_cropping_move_a_projected_point_with_the_image():
    camera = cameras()[0]
    point = (camera.c2w @ torch.tensor([0.1, 0.2, 3.0, 1.0]).double())[None, :3]
    x, y = project(point, camera)[0][0]
    resized = project(point, camera.resized((12, 24)))[0][0]
    torch.testing.assert_close(resized, torch.stack([x * 3, y * 2]))
    cropped = camera.cropped(top=1, left=2, size=(4, 4))
    torch.testing.assert_close(project(point, cropped)[0][0], torch.stack([x - 2, y - 1]))
    assert camera.resized((12, 24)).size == (12, 24) and cropped.size == (4, 4)


@pytest.mark.parametrize("angle", [1e-7, 0.3, math.pi - 1e-3])
def test_slerp_turns_at_constant_speed(angle):
    start, end = random_pose(1)[0, :3, :3], random_pose(1)[0, :3, :3] @ yaw(angle)
    for weight in (0.0, 0.25, 0.5, 1.0):
        middle = slerp(start, end, torch.tensor(weight, dtype=torch.float64))
        assert rotation_angle(start, middle).item() == pytest.approx(weight * angle, abs=1e-8)
        torch.testing.assert_close(middle.mT @ middle, torch.eye(3).double())


def test_cameras_at_whole_times_are_the_cameras_themselves():
    cams = cameras()
    torch.testing.assert_close(cams.at(torch.arange(5).double()).c2w, cams.c2w)
    half = cams.at(torch.tensor([1.5]))
    torch.testing.assert_close(half.centres[0], (cams.centres[1] + cams.centres[2]) / 2)
    with pytest.raises(ValueError, match=r"\[0, 4\]"):
        cams.at(torch.tensor([4.5]))


def test_joining_needs_one_image_size():
    joined = join_cameras([cameras(2), cameras(3)])
    assert len(joined) == 5
    with pytest.raises(ValueError, match="one image size"):
        join_cameras([cameras(2), cameras(2, size=(3, 4))])


def broken(change):
    cams = cameras(3)
    c2w, K = cams.c2w.clone(), cams.K.clone()
    change(c2w, K)
    return Cameras(c2w, K, cams.size)


def set_nan(c2w, K):
    c2w[1, 0, 3] = float("nan")


def set_scale(c2w, K):
    c2w[1, :3, :3] *= 1.1


def set_mirror(c2w, K):
    c2w[1, :3, 0] *= -1


def set_normalised(c2w, K):
    K[1] = intrinsics(0.9, 0.9, 0.5, 0.5)
    K[1, :2] /= 10


def set_other_image(c2w, K):
    K[1, 0, 2] = 100.0


def set_no_focal(c2w, K):
    K[1, 0, 0] = 0.0


@pytest.mark.parametrize(
    "change, message",
    [
        (set_nan, "NaN"),
        (set_scale, "not rigid"),
        (set_mirror, "not rigid"),
        (set_normalised, "does not fit its image of 6x8"),
        (set_other_image, "does not fit its image of 6x8"),
        (set_no_focal, "focal"),
    ],
)
def test_bad_cameras_are_refused_by_number_and_place(change, message):
    assert cameras(3).validated("good.json") is not None
    with pytest.raises(ValueError, match="bad.json: camera 1 .*" + message):
        broken(change).validated("bad.json")

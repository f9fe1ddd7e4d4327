"""Recordings whose coordinates are too large for float32: UTM, earth-centred."""

import json

import numpy as np
import pytest
import torch

from anchorweave.geometry.cameras import join_cameras
from anchorweave.memory import Bank
from anchorweave.recordings import open_recording, write_recording
from anchorweave.recordings.base import near_origin

UTM = (448262.25, 5411932.5, 215.0)
NONE = (0.0, 0.0, 0.0)


def poses(offset, count=5, step=0.0125):
    """Camera-to-world [T, 4, 4], float64: a slow walk, turning a little, away from `offset`."""
    c2w = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    angle = 0.1 * torch.arange(count, dtype=torch.float64)
    c2w[:, 0, 0], c2w[:, 0, 2] = angle.cos(), angle.sin()
    c2w[:, 2, 0], c2w[:, 2, 2] = -angle.sin(), angle.cos()
    c2w[:, 0, 3] = step * torch.arange(count)
    c2w[:, 2, 3] = 0.5 * step * torch.arange(count) ** 2
    c2w[:, :3, 3] += torch.tensor(offset, dtype=torch.float64)
    return c2w


@pytest.fixture
def scannet(tmp_path):
    """A function that writes a ScanNet folder about an offset and opens it."""
    from PIL import Image

    def written(offset):
        folder = tmp_path / "scan"
        for part in ("color", "depth", "pose", "intrinsic"):
            (folder / part).mkdir(parents=True)
        K = np.diag([30.0, 30.0, 1.0, 1.0])
        K[:2, 2] = 16, 12
        for which in ("color", "depth"):
            np.savetxt(folder / "intrinsic" / f"intrinsic_{which}.txt", K)
        for i, c2w in enumerate(poses(offset)):
            Image.new("RGB", (32, 24), (40 * i, 90, 60)).save(folder / "color" / f"{i}.png")
            depth = np.full((24, 32), 2000 + i, dtype=np.uint16)
            Image.fromarray(depth).save(folder / "depth" / f"{i}.png")
            np.savetxt(folder / "pose" / f"{i}.txt", c2w.numpy(), fmt="%.12f")
        return open_recording(folder)

    return written


def listed(folder):
    """Positions that a transforms.json lists [T, 3]."""
    frames = json.loads((folder / "transforms.json").read_text())["frames"]
    return np.array([np.array(frame["transform_matrix"])[:3, 3] for frame in frames])


@pytest.mark.parametrize("offset", [UTM, (4.2e6, 1.7e5, 4.8e6), (4482.6, 5411.9, 0.2)])
def test_steps_between_cameras_keep_their_length(scannet, offset):
    cameras = scannet(offset).cameras
    exact = poses(offset)
    # Float32 alone rounds to 0.5 here; a hundredth of a millimetre is left.
    relative = torch.linalg.inv(exact[0]) @ exact
    torch.testing.assert_close(
        cameras.relative_to(cameras[0]).double(), relative, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(cameras.recorded_c2w, exact, atol=1e-5, rtol=0)


@pytest.mark.parametrize("offset", [NONE, (3.0, -20.0, 60.0)])
def test_ordinary_coordinates_stay_as_they_are(scannet, offset):
    cameras = scannet(offset).cameras
    assert cameras.origin == NONE
    torch.testing.assert_close(cameras.c2w, poses(offset).float(), atol=1e-6, rtol=0)


def test_millimetres_and_long_drives_are_ordinary():
    assert near_origin(poses((2000.0, 900.0, -1500.0), step=30.0)) == NONE
    assert near_origin(poses((10.0, 0.0, 0.0), count=1000, step=1.0)) == NONE


def test_a_camera_that_stands_still_far_away_has_its_own_origin():
    assert near_origin(poses(UTM, count=1)) == (448262.0, 5411932.0, 215.0)
    assert near_origin(poses((3.0, 2.0, 1.0), step=0.0)) == NONE


def test_what_is_written_is_in_the_recordings_coordinates(scannet, tmp_path):
    recording = scannet(UTM)
    write_recording(recording.clip(range(5)), tmp_path / "copy")
    exact = poses(UTM)[:, :3, 3].numpy()
    np.testing.assert_allclose(listed(tmp_path / "copy"), exact, atol=1e-5, rtol=0)
    again = open_recording(tmp_path / "copy").cameras
    torch.testing.assert_close(again.recorded_c2w, recording.cameras.recorded_c2w)


def test_a_bank_keeps_the_world_that_it_was_begun_in(scannet, tmp_path):
    clip = scannet(UTM).clip(range(5))
    bank = Bank(tmp_path / "bank")
    bank.append(clip[:2])
    early = bank.cameras.c2w.clone()
    bank.append(clip[2:])
    opened = Bank(tmp_path / "bank").cameras
    assert opened.origin == clip.cameras.origin != NONE
    torch.testing.assert_close(opened.c2w, clip.cameras.c2w, atol=1e-6, rtol=0)
    assert torch.equal(opened.c2w[:2], early)
    exact = poses(UTM)[:, :3, 3].numpy()
    np.testing.assert_allclose(listed(tmp_path / "bank"), exact, atol=1e-5, rtol=0)


def test_a_bank_near_the_origin_stays_there_however_far_it_grows(tmp_path, scannet):
    clip = scannet(NONE).clip(range(5))
    bank = Bank(tmp_path / "bank")
    bank.append(clip)
    far = clip.cameras.about((-5000.0, 0.0, 0.0))
    still = far[[0] * 5]
    bank.append(type(clip)(clip.frames, clip.depth, still, clip.names))
    assert bank.cameras.origin == NONE
    torch.testing.assert_close(bank.cameras.c2w[:5], clip.cameras.c2w)


def test_cameras_of_two_worlds_meet_in_the_first():
    from anchorweave.geometry.cameras import Cameras, intrinsics

    K = intrinsics(30.0, 30.0, 16.0, 12.0).expand(5, 3, 3)
    at = (448262.0, 5411932.0, 215.0)
    near = poses(UTM)
    near[:, :3, 3] -= torch.tensor(at, dtype=torch.float64)
    one = Cameras(near.float(), K, (24, 32), at)
    other = one.about((448000.0, 5411932.0, 200.0))
    assert not torch.allclose(other.c2w, one.c2w)
    joined = join_cameras([one, other])
    # Float32 at 262 metres.
    torch.testing.assert_close(joined.c2w[5:], one.c2w, atol=5e-5, rtol=0)
    relative = torch.eye(4).expand(5, 4, 4)
    torch.testing.assert_close(other.relative_to(one), relative, atol=5e-5, rtol=0)

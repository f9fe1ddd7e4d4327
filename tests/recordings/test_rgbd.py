from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anchorweave.geometry.projection import project, unproject
from anchorweave.recordings import open_recording

KITCHEN = Path(__file__).parents[3] / "shared" / "data" / "kitchen"
K = np.array([[50.0, 0, 32.0], [0, 50.0, 24.0], [0, 0, 1]])


def pose(i):
    c2w = np.eye(4)
    angle = 0.1 * i
    c2w[:3, :3] = [
        [np.cos(angle), 0, np.sin(angle)],
        [0, 1, 0],
        [-np.sin(angle), 0, np.cos(angle)],
    ]
    c2w[:3, 3] = [0.1 * i, 0.2, 0.3]
    return c2w


def colour(i, size=(48, 64)):
    return Image.fromarray(np.full((*size, 3), 10 * i + 5, dtype=np.uint8))


def depth(i, size=(48, 64)):
    steps = np.full(size, 1000 + i, dtype=np.uint16)
    steps[0, 0], steps[0, 1] = 0, 65535
    return Image.fromarray(steps)


@pytest.fixture
def seven_scenes(tmp_path):
    for i in range(4):
        stem = tmp_path / f"frame-{i:06d}"
        colour(i).save(f"{stem}.color.png")
        depth(i).save(f"{stem}.depth.png")
        np.savetxt(f"{stem}.pose.txt", pose(i))
    np.savetxt(tmp_path / "camera-intrinsics.txt", K)
    return tmp_path


@pytest.fixture
def scannet(tmp_path):
    for folder in ("color", "depth", "pose", "intrinsic"):
        (tmp_path / folder).mkdir()
    for i in (0, 2, 10):
        colour(i).save(tmp_path / f"color/{i}.jpg")
        depth(i, (24, 32)).save(tmp_path / f"depth/{i}.png")
        np.savetxt(tmp_path / f"pose/{i}.txt", pose(i))
    for name, matrix in (("color", K), ("depth", np.diag([0.5, 0.5, 1]) @ K)):
        whole = np.eye(4)
        whole[:3, :3] = matrix
        np.savetxt(tmp_path / f"intrinsic/intrinsic_{name}.txt", whole)
    return tmp_path


@pytest.fixture
def tum(tmp_path):
    (tmp_path / "rgb").mkdir()
    (tmp_path / "depth").mkdir()
    rgb, maps, truth = ["# colour"], ["# depth"], ["# t x y z qx qy qz qw"]
    for i in range(3):
        t = 1000 + i / 30
        colour(i, (480, 640)).save(tmp_path / f"rgb/{t:.6f}.png")
        depth(i, (480, 640)).save(tmp_path / f"depth/{t + 0.004:.6f}.png")
        rgb.append(f"{t:.6f} rgb/{t:.6f}.png")
        maps.append(f"{t + 0.004:.6f} depth/{t + 0.004:.6f}.png")
        half = 0.05 * i
        for shift in (-0.013, 0.003, 0.011):  # the middle one is the partner
            x = 0.1 * i if shift == 0.003 else 9.0
            rotation = f"0 {np.sin(half)} 0 {np.cos(half)}"
            truth.append(f"{t + shift:.6f} {x} 0.2 0.3 {rotation}")
    for name, lines in (("rgb", rgb), ("depth", maps), ("groundtruth", truth)):
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_seven_scenes(seven_scenes):
    recording = open_recording(seven_scenes)
    clip = recording.clip([3, 1])
    assert recording.has_depth and clip.names == ("frame-000003", "frame-000001")
    torch.testing.assert_close(clip.frames[:, 0, 0, 0] * 255, torch.tensor([35.0, 15.0]))
    torch.testing.assert_close(clip.depth[:, 5, 5], torch.tensor([1.003, 1.001]))
    assert (clip.depth[:, 0, :2] == 0).all()
    torch.testing.assert_close(clip.cameras.c2w[0], torch.tensor(pose(3)).float())
    torch.testing.assert_close(clip.cameras.K[0], torch.tensor(K).float())


def test_known_intrinsics_serve_only_the_size_they_are_known_for(seven_scenes):
    (seven_scenes / "camera-intrinsics.txt").unlink()
    with pytest.raises(FileNotFoundError, match="48x64.*camera-intrinsics.txt"):
        open_recording(seven_scenes)


def test_frames_that_lack_a_part_are_counted(seven_scenes):
    (seven_scenes / "frame-000001.depth.png").unlink()
    (seven_scenes / "frame-000002.pose.txt").unlink()
    with pytest.raises(FileNotFoundError, match="2 of 4 .*000001: no depth.*000002: no pose"):
        open_recording(seven_scenes)
    recording = open_recording(seven_scenes, missing="skip")
    assert recording.names == ("frame-000000", "frame-000003")
    torch.testing.assert_close(recording.cameras.c2w[1], torch.tensor(pose(3)).float())


def test_no_depth_at_all_is_a_recording_without_depth(seven_scenes):
    for file in seven_scenes.glob("*.depth.png"):
        file.unlink()
    recording = open_recording(seven_scenes)
    assert not recording.has_depth and (recording.clip([0]).depth == 0).all()
    with pytest.raises(ValueError, match="no depth"):
        recording.depth(0)


def test_no_poses_at_all_is_refused(seven_scenes):
    for file in seven_scenes.glob("*.pose.txt"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match="poses.*'pose': 0"):
        open_recording(seven_scenes, missing="skip")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.full((4, 4), np.nan), "frame-000002.*NaN"),
        (2 * np.eye(4), "frame-000002.*not rigid"),
        (np.eye(3), r"frame-000002.pose.txt.*\(3, 3\).*4x4"),
    ],
)
def test_a_wrong_pose_is_named(seven_scenes, matrix, message):
    np.savetxt(seven_scenes / "frame-000002.pose.txt", matrix)
    with pytest.raises(ValueError, match=message):
        open_recording(seven_scenes)


def test_a_pose_file_of_words_is_named(seven_scenes):
    (seven_scenes / "frame-000002.pose.txt").write_text("not a pose\n")
    with pytest.raises(ValueError, match="frame-000002.pose.txt.*numbers"):
        open_recording(seven_scenes)


def test_intrinsics_of_another_image_are_refused(seven_scenes):
    np.savetxt(seven_scenes / "camera-intrinsics.txt", np.diag([20, 20, 1]) @ K)
    with pytest.raises(ValueError, match="does not fit its image of 48x64"):
        open_recording(seven_scenes)


def test_scannet_depth_is_seen_from_the_colour_pixels(scannet):
    steps = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) + 1000
    Image.fromarray(steps).save(scannet / "depth/10.png")
    recording = open_recording(scannet)
    assert recording.names == ("0", "2", "10")  # by number, not by letter
    expected = torch.from_numpy(steps.astype(np.float32) * 1e-3)
    doubled = expected.repeat_interleave(2, 0).repeat_interleave(2, 1)
    torch.testing.assert_close(recording.depth(2), doubled)


def test_scannet_depth_camera_with_a_view_of_its_own(scannet):
    whole = np.eye(4)
    whole[:3, :3] = [[25, 0, 8], [0, 25, 12], [0, 0, 1]]  # sees 8 depth pixels further right
    np.savetxt(scannet / "intrinsic/intrinsic_depth.txt", whole)
    depth = open_recording(scannet).depth(1)
    assert (depth[:, :16] == 0).all() and (depth[2:, 16:] - 1.002).abs().max() < 1e-6


def test_scannet_lost_tracking_is_refused_or_skipped(scannet):
    np.savetxt(scannet / "pose/2.txt", np.full((4, 4), -np.inf))
    with pytest.raises(FileNotFoundError, match="1 of 3 .*2: its pose is infinite"):
        open_recording(scannet)
    assert open_recording(scannet, missing="skip").names == ("0", "10")


def test_tum_pairs_by_nearest_time(tum):
    recording = open_recording(tum)
    clip = recording.clip(range(3))
    torch.testing.assert_close(clip.cameras.c2w[2], torch.tensor(pose(2)).float())
    torch.testing.assert_close(clip.depth[:, 5, 5], torch.tensor([1000.0, 1001, 1002]) / 5000)
    assert clip.cameras.K[0, 0, 0] == 525 and clip.cameras.K[0, 0, 2] == 320


def test_tum_frames_without_a_partner_are_counted(tum):
    lines = (tum / "groundtruth.txt").read_text().splitlines()
    (tum / "groundtruth.txt").write_text("\n".join(lines[:7]))
    with pytest.raises(FileNotFoundError, match="1 of 3 .*no pose within 0.02 s"):
        open_recording(tum)
    assert len(open_recording(tum, missing="skip")) == 2


@pytest.mark.parametrize("name", ["rgb", "depth"])
def test_tum_paths_may_not_leave_the_folder(tum, name):
    text = (tum / f"{name}.txt").read_text()
    (tum / f"{name}.txt").write_text(text.replace(f" {name}/", " ../other/", 1))
    with pytest.raises(
        ValueError, match=f"{name}.txt: ../other.*is outside the recording's folder"
    ):
        open_recording(tum, missing="skip")


@pytest.mark.parametrize("row", ["1000.003 0.1 0.2", "1000.003 0 0 0 a b c d", "1000.003"])
def test_tum_broken_rows_are_named(tum, row):
    (tum / "groundtruth.txt").write_text(row)
    with pytest.raises(ValueError, match="groundtruth.txt"):
        open_recording(tum, missing="skip")


def test_tum_quaternions_are_checked(tum):
    text = (tum / "groundtruth.txt").read_text()
    (tum / "groundtruth.txt").write_text(text.replace(" 0 1.0\n", " 0 2.0\n"))
    with pytest.raises(ValueError, match="groundtruth.txt.*unit quaternion"):
        open_recording(tum)


@pytest.mark.skipif(not KITCHEN.is_dir(), reason="the kitchen recording is not at hand")
def test_kitchen_frames_agree_about_where_things_stand():
    recording = open_recording(KITCHEN)
    assert len(recording) == 150 and recording.cameras.size == (480, 640)
    clip = recording.clip([0, 3], size=(120, 160))
    source, target = clip.cameras[0], clip.cameras[1]
    points = unproject(clip.depth[0], source)[clip.depth[0] > 0]
    position, z = project(points, target)
    column, row = position.floor().long().unbind(-1)
    inside = (z > 0) & (column >= 0) & (column < 160) & (row >= 0) & (row < 120)
    there = clip.depth[1][row[inside], column[inside]]
    error = ((there - z[inside]).abs() / z[inside])[there > 0]
    assert inside.float().mean() > 0.5 and error.median() < 0.02

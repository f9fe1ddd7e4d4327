"""Exports of phone scanners, written from a room whose cameras are known."""

import json

import pytest
import torch

from anchorweave.images import write_depth, write_frame
from anchorweave.recordings import open_recording
from anchorweave.recordings.nerfstudio import OPENGL
from anchorweave.video import write_video
from tests.recordings.colmap_projects import _pose
from tests.rooms import walk

T = 3


@pytest.fixture(scope="module")
def room():
    return walk(T)


def assert_room(recording, room, frames=(0, 1, 2), loss=0.003):
    clip = recording.clip(range(len(recording)))
    at = list(frames)
    assert torch.allclose(clip.cameras.c2w, room.cameras.c2w[at], atol=1e-5)
    assert torch.allclose(clip.cameras.K, room.cameras.K[at])
    assert (clip.frames - room.frames[at]).abs().mean() < loss
    # Millimetres of rounding; the maps have half the size, and each pixel serves four.
    expected = room.depth[at][:, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert (clip.depth - expected).abs().max() < 0.6e-3


@pytest.fixture
def polycam(tmp_path, room):
    keyframes = tmp_path / "keyframes"
    for part in ("cameras", "images", "depth"):
        (keyframes / part).mkdir(parents=True)
    c2w, K = room.cameras.recorded_c2w @ OPENGL, room.cameras.K
    for i, name in enumerate(("98", "99", "100")):
        told = {f"t_{row}{col}": c2w[i, row, col].item() for row in range(3) for col in range(4)}
        told |= {"fx": K[i, 0, 0].item(), "fy": K[i, 1, 1].item()}
        told |= {"cx": K[i, 0, 2].item(), "cy": K[i, 1, 2].item(), "width": 32, "height": 24}
        (keyframes / "cameras" / f"{name}.json").write_text(json.dumps(told))
        write_frame(room.frames[i], keyframes / "images" / f"{name}.png")
        write_depth(room.depth[i, ::2, ::2], 1e-3, keyframes / "depth" / f"{name}.png")
    return tmp_path


def test_polycam(polycam, room):
    recording = open_recording(polycam)
    assert recording.names == ("98", "99", "100")
    assert_room(recording, room)
    (polycam / "keyframes" / "images" / "99.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 3 frames.*99: no images"):
        open_recording(polycam)
    assert_room(open_recording(polycam, missing="skip"), room, (0, 2))
    (polycam / "keyframes" / "cameras" / "98.json").write_text('{"t_00": 1}')
    with pytest.raises(ValueError, match="98.json: is not a Polycam camera .KeyError: 't_01'"):
        open_recording(polycam, missing="skip")


def test_polycam_after_its_optimisation(polycam, room):
    keyframes = polycam / "keyframes"
    (keyframes / "cameras").rename(keyframes / "corrected_cameras")
    (keyframes / "images").rename(keyframes / "corrected_images")
    (keyframes / "cameras").mkdir()
    (keyframes / "cameras" / "98.json").write_text("{}")
    assert_room(open_recording(polycam), room)


@pytest.fixture
def stray(tmp_path, room):
    (tmp_path / "depth").mkdir()
    lines = ["timestamp, frame, x, y, z, qx, qy, qz, qw"]
    for i, w2c in enumerate(room.cameras.w2c):
        # The helper tells world-to-camera of a camera-to-world; here the other way round.
        w, x, y, z, *at = _pose(w2c.double())
        lines.append(f"{i / 60}, {i:06d}, {at[0]}, {at[1]}, {at[2]}, {x}, {y}, {z}, {w}")
        write_depth(room.depth[i, ::2, ::2], 1e-3, tmp_path / "depth" / f"{i:06d}.png")
    (tmp_path / "odometry.csv").write_text("\n".join(lines) + "\n")
    rows = [", ".join(map(str, row)) for row in room.cameras.K[0].tolist()]
    (tmp_path / "camera_matrix.csv").write_text("\n".join(rows))
    write_video(tmp_path / "rgb.mp4", room.frames, 60)
    return tmp_path


def test_stray_scanner(stray, room):
    recording = open_recording(stray)
    assert recording.names == ("000000", "000001", "000002")
    # A video's colours are rounded and share chroma.
    assert_room(recording, room, loss=0.05)
    (stray / "depth" / "000001.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 3 frames.*no depth/000001.png"):
        open_recording(stray)
    assert_room(open_recording(stray, missing="skip"), room, (0, 2), loss=0.05)
    (stray / "camera_matrix.csv").write_text("1, 2\n")
    with pytest.raises(ValueError, match="camera_matrix.csv: is not a 3x3 matrix"):
        open_recording(stray, missing="skip")
    (stray / "odometry.csv").write_text("timestamp, frame\n0, 1\n")
    with pytest.raises(ValueError, match="odometry.csv: is not a table of frame, x, y, z.*'x'"):
        open_recording(stray)

"""COLMAP projects: text and binary say the same, lenses are undone, points fix the scale."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from anchorweave.evaluation.contradiction import check_memories
from anchorweave.geometry.cameras import intrinsics
from anchorweave.geometry.projection import pixel_centres, unproject
from anchorweave.images import write_frame
from anchorweave.recordings import RecordingConfig, open_recording
from anchorweave.recordings.colmap import _K, _lens
from anchorweave.recordings.colmap_model import ModelCamera
from anchorweave.recordings.framing import reframed
from anchorweave.recordings.search import find_recordings
from anchorweave.recordings.undistort import Lens, undistorted
from tests.alike import alike
from tests.recordings.colmap_projects import write_model, write_project
from tests.rooms import walk

FOX = Path(__file__).parents[3] / "shared" / "data" / "fox"
SUFFIXES = pytest.mark.parametrize("suffix", ["bin", "txt"])


@pytest.fixture(scope="module")
def room():
    return walk(4)


@SUFFIXES
def test_cameras_images_and_points_come_back(tmp_path, room, suffix):
    points = unproject(room.depth[1], room.cameras[1])[::6, ::6].reshape(-1, 3)
    folder = write_project(tmp_path / "p", room, suffix=suffix, points=points)
    recording = open_recording(folder)
    assert recording.names == ("000.png", "001.png", "002.png", "003.png")
    assert not recording.has_depth and recording.cameras.size == room.cameras.size
    # The file keeps quaternions in float64; reading rounds to float32.
    assert torch.allclose(recording.cameras.c2w, room.cameras.c2w, atol=1e-6)
    assert alike(recording.cameras.K, room.cameras.K)
    clip = recording.clip(range(4))
    assert (clip.frames - room.frames).abs().max() <= 0.5 / 255 + 1e-6
    assert alike(recording.sparse_points(2), points)
    # Of points of the room's own surface, each pixel that one falls on has that depth.
    known = clip.sparse[1] > 0
    assert known.sum() == len(points) and not clip.depth.any()
    assert torch.allclose(clip.sparse[1][known], room.depth[1][known], rtol=1e-4)
    assert find_recordings(str(tmp_path)) == {"p": str(folder)}


def test_sparse_depth_follows_the_size_that_is_asked_for(tmp_path, room):
    points = unproject(room.depth[1], room.cameras[1])[::4, ::4].reshape(-1, 3)
    clip = open_recording(write_project(tmp_path / "p", room, points=points)).clip([1, 2], (12, 16))
    known = clip.sparse[0] > 0
    assert clip.sparse.shape == (2, 12, 16) and known.sum() >= 0.5 * len(points)
    # A point lies somewhere in a pixel twice as large as the one whose depth it had.
    coarse = room.depth[1][::2, ::2]
    assert ((clip.sparse[0] - coarse)[known].abs() < 0.1 * coarse[known]).all()
    # Where a clip is resized without its recording, sparse depth is left out and not misplaced.
    assert reframed(clip, (6, 8)).sparse is None
    large = walk(3, size=(128, 160))
    check_memories(replace(large, sparse=large.depth), "error", "a room")
    joined = clip[[1]].sparse
    assert torch.equal(joined[0], clip.sparse[1])


@SUFFIXES
def test_a_model_that_is_cut_off_is_named(tmp_path, room, suffix):
    folder = write_project(tmp_path / "p", room, suffix=suffix)
    images = folder / "sparse" / "0" / f"images.{suffix}"
    stored = images.read_bytes()
    images.write_bytes(stored[: len(stored) // 2 - 7] if suffix == "bin" else b"1 0.5 0.5\n")
    with pytest.raises(ValueError, match=f"images.{suffix}: is not a complete COLMAP file"):
        open_recording(folder)


def test_what_is_missing_is_said(tmp_path, room):
    folder = write_project(tmp_path / "p", room)
    (folder / "images" / "002.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 4 frames.*002.png: the image does not exist"):
        open_recording(folder)
    assert len(open_recording(folder, missing="skip")) == 3
    with pytest.raises(FileNotFoundError, match="without its images.*Give the folder"):
        open_recording(folder / "sparse" / "0")
    with pytest.raises(ValueError, match="depth_scale is set, but a COLMAP project holds no"):
        open_recording(folder, options=RecordingConfig(depth_scale=1000.0))


def test_a_smaller_copy_serves_and_K_follows(tmp_path, room):
    folder = write_project(tmp_path / "p", room)
    (folder / "images").rename(folder / "images_2")
    for i, frame in enumerate(room.frames):
        write_frame(frame[:, ::2, ::2], folder / "images_2" / f"{i:03d}.png")
    recording = open_recording(folder)
    assert recording.cameras.size == (12, 16)
    assert alike(recording.cameras.K, room.cameras.resized((12, 16)).K)


def test_masks_keep_moving_things_out(tmp_path, room):
    folder = write_project(tmp_path / "p", room)
    (folder / "masks").mkdir()
    white = torch.ones(3, 24, 32)
    white[:, :5] = 0
    for i in range(4):
        write_frame(white, folder / "masks" / f"{i:03d}.png.png")
    static = open_recording(folder).clip([0, 3]).static
    assert not static[:, :5].any() and static[:, 5:].all()
    (folder / "masks" / "001.png.png").unlink()
    with pytest.raises(FileNotFoundError, match="001.png: no mask, although others have one"):
        open_recording(folder)


def test_pieces_are_told_of(tmp_path, room):
    folder = write_project(tmp_path / "p", room)
    names = ["000.png", "001.png"]
    write_model(folder / "sparse" / "1", room.cameras[:2], names, "PINHOLE", None, "bin")
    with pytest.warns(UserWarning, match="2 disconnected models; using the 4 images of 0/"):
        assert len(open_recording(folder)) == 4


# Enough of a lens that no other would do.
PARAMS = {
    "SIMPLE_PINHOLE": [24.0, 16, 12],
    "PINHOLE": [24.0, 25, 16, 12],
    "SIMPLE_RADIAL": [24.0, 16, 12, 0.1],
    "RADIAL": [24.0, 16, 12, 0.1, -0.05],
    "OPENCV": [24.0, 25, 16, 12, 0.1, -0.05, 0.01, -0.02],
    "FULL_OPENCV": [24.0, 25, 16, 12, 0.1, -0.05, 0.01, -0.02, 0.03, 0, 0, 0],
    "OPENCV_FISHEYE": [24.0, 25, 16, 12, 0.1, -0.05, 0.02, 0.01],
    "SIMPLE_RADIAL_FISHEYE": [24.0, 16, 12, 0.1],
    "RADIAL_FISHEYE": [24.0, 16, 12, 0.1, -0.05],
}


@pytest.mark.skipif(find_spec("pycolmap") is None, reason="no pycolmap")
def test_lenses_bend_rays_as_colmap_says(tmp_path):
    # In a process of its own: beside other packages pycolmap may lose the process.
    rays = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64)
    rays = torch.cartesian_prod(rays, rays)
    code = (
        "import json, sys, numpy as np, pycolmap\n"
        "params, rays = json.load(sys.stdin)\n"
        "rays = np.column_stack([np.array(rays), np.ones(len(rays))])\n"
        "made = {m: pycolmap.Camera(model=m, width=32, height=24, params=p)"
        " for m, p in params.items()}\n"
        "print(json.dumps({m: np.array(c.img_from_cam(rays)).tolist() for m, c in made.items()}))"
    )
    sent = json.dumps([PARAMS, rays.tolist()])
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for model, at in json.loads(done.stdout).items():
        camera = ModelCamera(model, tuple(map(float, PARAMS[model])), (24, 32))
        K = _K(tmp_path, camera, (24, 32), (24, 32)).double()
        bent = _lens(tmp_path, camera).distort(rays)
        mine = bent * K.diagonal()[:2] + K[:2, 2]
        # K is float32.
        assert torch.allclose(mine, torch.tensor(at, dtype=torch.float64), atol=1e-4), model


@pytest.mark.parametrize("model", ["OPENCV", "OPENCV_FISHEYE"])
def test_a_lens_is_undone(tmp_path, model):
    room = walk(2, size=(48, 64))
    params = [48.0, 48, 32, 24, 0.05, -0.02, 0, 0]
    folder = write_project(tmp_path / "p", room, model, params)
    recording = open_recording(folder)
    lens = _lens(folder, ModelCamera(model, tuple(map(float, params)), (48, 64)))
    whole = replace(room.cameras[0], K=intrinsics(48.0, 48.0, 32.0, 24.0))
    stored = (room.frames[0] * 255).round() / 255
    at = recording.cameras
    top, left = (round((whole.K[1, 2] - at.K[0, 1, 2]).item()), round((32 - at.K[0, 0, 2]).item()))
    expected = undistorted(stored, lens, whole)[:, top:, left:][:, : at.size[0], : at.size[1]]
    assert lens != Lens()
    assert alike(recording.frame(0), expected)
    assert (lens.distort(pixel_centres((4, 4), at.K) / 4)).isfinite().all()


@pytest.mark.parametrize(
    ("model", "params", "said"),
    [
        ("FOV", [24.0, 24, 16, 12, 0.9], "camera model FOV is not supported; undistort"),
        ("FULL_OPENCV", [24.0, 24, 16, 12, *[0.0] * 7, 0.1], "k4 to k6"),
    ],
)
def test_lenses_that_are_not_known_are_refused(tmp_path, room, model, params, said):
    with pytest.raises(ValueError, match=said):
        open_recording(write_project(tmp_path / "p", room, model, params))


@pytest.mark.skipif(not FOX.is_dir(), reason="the fox recording is not at hand")
@SUFFIXES
def test_the_fox_as_a_colmap_project(tmp_path, suffix):
    given = open_recording(FOX, missing="skip")
    meta = json.loads((FOX / "transforms.json").read_text())
    params = [meta[key] for key in ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2")]
    names = [name.partition("/")[2] for name in given.names]
    folder = tmp_path / "fox"
    write_model(folder / "sparse" / "0", given.stored, names, "OPENCV", params, suffix)
    (folder / "images").mkdir()
    for file in given.images:
        (folder / "images" / file.name).write_bytes(file.read_bytes())
    read = open_recording(folder)
    assert len(read) == 50 and read.cameras.size == given.cameras.size
    assert (read.cameras.c2w - given.cameras.c2w).abs().max() < 1e-5
    assert (read.cameras.K - given.cameras.K).abs().max() < 1e-5
    assert torch.equal(read.frame(7), given.frame(7))

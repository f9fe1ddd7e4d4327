"""ARKitScenes' layout, written from a room whose cameras are known."""

import pytest
import torch

from anchorweave.images import write_depth, write_frame
from anchorweave.recordings import open_recording
from tests.recordings.colmap_projects import _pose
from tests.rooms import walk

T, ID = 3, "41069021"


@pytest.fixture(scope="module")
def room():
    return walk(T)


def axis_angle(w2c):
    """Of a rotation that is less than half a turn."""
    w, *xyz = _pose(torch.linalg.inv(w2c))[:4]
    xyz = torch.tensor(xyz, dtype=torch.float64)
    sine = xyz.norm()
    return (xyz / sine.clamp(min=1e-12) * 2 * torch.atan2(sine, torch.tensor(w))).tolist()


def write_scene(folder, room):
    for part in ("lowres_wide", "lowres_depth", "lowres_wide_intrinsics"):
        (folder / part).mkdir(parents=True)
    lines, K = [], room.cameras.K
    for i, c2w in enumerate(room.cameras.recorded_c2w):
        w2c = torch.linalg.inv(c2w)
        time = 3336.2 + i / 10
        words = [time, *axis_angle(w2c), *w2c[:3, 3].tolist()]
        lines.append(" ".join(map(repr, words)))
        # Images come more often than poses, and stamps are rounded.
        stem = f"{ID}_{time + 0.004:.3f}"
        write_frame(room.frames[i], folder / "lowres_wide" / f"{stem}.png")
        write_depth(room.depth[i], 1e-3, folder / "lowres_depth" / f"{stem}.png")
        between = f"{ID}_{time + 0.05:.3f}.png"
        write_frame(torch.zeros(3, 24, 32), folder / "lowres_wide" / between)
        fx, fy, cx, cy = (K[i, r, c].item() for r, c in ((0, 0), (1, 1), (0, 2), (1, 2)))
        pincam = folder / "lowres_wide_intrinsics" / f"{stem}.pincam"
        pincam.write_text(f"32 24 {fx} {fy} {cx} {cy}")
    (folder / "lowres_wide.traj").write_text("\n".join(lines) + "\n")


@pytest.fixture(params=["raw", "3dod"])
def scene(tmp_path, room, request):
    folder = tmp_path / ID
    write_scene(folder / f"{ID}_frames" if request.param == "3dod" else folder, room)
    return folder


def test_each_pose_takes_the_image_of_its_time(scene, room):
    recording = open_recording(scene)
    assert recording.names == ("3336.200", "3336.300", "3336.400")
    clip = recording.clip(range(T))
    assert torch.allclose(clip.cameras.c2w, room.cameras.c2w, atol=1e-5)
    assert torch.allclose(clip.cameras.K, room.cameras.K)
    assert (clip.frames - room.frames).abs().max() <= 0.5 / 255 + 1e-6
    # Millimetres of rounding.
    assert (clip.depth - room.depth).abs().max() < 0.6e-3


def test_what_is_missing_or_wrong_is_named(tmp_path, room):
    folder = tmp_path / ID
    write_scene(folder, room)
    (folder / "lowres_depth" / f"{ID}_3336.304.png").unlink()
    with pytest.raises(
        FileNotFoundError, match="1 of 3.*3336.300: no file with its time in lowres_d"
    ):
        open_recording(folder)
    assert open_recording(folder, missing="skip").names == ("3336.200", "3336.400")
    (folder / "lowres_wide_intrinsics" / f"{ID}_3336.204.pincam").write_text("32 24 20")
    with pytest.raises(ValueError, match="3336.204.pincam: expected width, height, fx"):
        open_recording(folder, missing="skip")
    (folder / "lowres_wide.traj").write_text("1 2 3\n")
    with pytest.raises(ValueError, match="traj: expected lines of 7 numbers"):
        open_recording(folder)
    (folder / "lowres_wide.traj").write_text("\n")
    with pytest.raises(ValueError, match="traj: holds no poses"):
        open_recording(folder)

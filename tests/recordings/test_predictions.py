"""Predictions of networks: one .npz of ours, and what others write, say the same."""

import numpy as np
import pytest
import torch

from anchorweave.geometry.cameras import inverse_rigid
from anchorweave.images import write_frame
from anchorweave.recordings import RecordingConfig, open_recording
from anchorweave.video import write_video
from tests.alike import alike
from tests.rooms import walk

T = 3


@pytest.fixture(scope="module")
def room():
    return walk(T)


@pytest.fixture(scope="module")
def arrays(room):
    bytes_of = (room.frames * 255).round().byte()
    return {
        "depth": room.depth.numpy(),
        "c2w": room.cameras.c2w.numpy(),
        "w2c": inverse_rigid(room.cameras.c2w).numpy()[:, :3],
        "K": room.cameras.K.numpy(),
        "images": bytes_of.permute(0, 2, 3, 1).numpy(),
        "channels_first": (bytes_of.float() / 255).numpy(),
        "confidence": np.broadcast_to(np.arange(24.0)[:, None], (T, 24, 32)),
    }


def ours(a):
    return {key: a[key] for key in ("depth", "c2w", "K", "images", "confidence")}


WRITTEN = {
    "ours": ours,
    "megasam": lambda a: {
        "images": a["images"],
        "depths": a["depth"],
        "intrinsic": a["K"][0],
        "cam_c2w": a["c2w"],
    },
    "vggt": lambda a: {
        "extrinsic": a["w2c"],
        "intrinsic": a["K"],
        "depth": a["depth"][..., None],
        "depth_conf": a["confidence"],
        "images": a["channels_first"],
        "pose_enc": np.zeros((T, 9)),
    },
    "mapanything": lambda a: {
        "extrinsic": a["c2w"],
        "intrinsic": a["K"],
        "depth": a["depth"][..., None],
        "conf": a["confidence"],
        "images": a["channels_first"].transpose(0, 2, 3, 1),
        "final_mask": np.ones((T, 24, 32), bool),
    },
    "depth_anything_3": lambda a: {
        "extrinsics": a["w2c"],
        "intrinsics": a["K"],
        "depth": a["depth"],
        "conf": a["confidence"],
        "image": a["images"],
    },
}


def assert_room(recording, room):
    clip = recording.clip(range(T))
    assert recording.has_depth and recording.names[1] == "000001"
    assert torch.allclose(clip.cameras.c2w, room.cameras.c2w, atol=1e-6)
    assert alike(clip.cameras.K, room.cameras.K) and alike(clip.depth, room.depth)
    assert (clip.frames - room.frames).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("layout", WRITTEN)
def test_each_layout_is_the_room(tmp_path, room, arrays, layout):
    np.savez(tmp_path / "p.npz", **WRITTEN[layout](arrays))
    assert_room(open_recording(tmp_path / "p.npz"), room)


@pytest.mark.parametrize("layout", [name for name in WRITTEN if name != "megasam"])
def test_depth_that_is_unsure_may_be_left_out(tmp_path, arrays, layout):
    np.savez(tmp_path / "p.npz", **WRITTEN[layout](arrays))
    options = RecordingConfig(min_confidence=10.0)
    depth = open_recording(tmp_path / "p.npz", options=options).clip([1]).depth[0]
    assert not depth[:10].any() and (depth[10:] > 0).all()


def test_images_may_lie_beside_and_things_may_move(tmp_path, room, arrays):
    stored = ours(arrays) | {"static": np.arange(24)[:, None] >= np.full((T, 1, 32), 6)}
    stored["depth"] = np.where(arrays["depth"] > 3, np.nan, arrays["depth"])[:, ::2, ::2]
    stored["static"] = stored["static"][:, ::2, ::2]
    del stored["images"], stored["confidence"]
    np.savez(tmp_path / "p.npz", **stored)
    with pytest.raises(
        ValueError, match="holds no images, and there is neither p.mp4 nor a folder p/"
    ):
        open_recording(tmp_path / "p.npz")
    (tmp_path / "p").mkdir()
    for i, frame in enumerate(room.frames):
        write_frame(frame, tmp_path / "p" / f"{i}.png")
    clip = open_recording(tmp_path / "p.npz").clip(range(T))
    assert not clip.static[:, :6].any() and clip.static[:, 6:].all()
    kept = clip.depth[:, 6:] > 0
    # Depth of half the size: each pixel of it serves four.
    exact = arrays["depth"][:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)[:, 6:]
    assert alike(clip.depth[:, 6:], torch.from_numpy(np.where(exact > 3, 0, exact)).float())
    assert 0.2 < kept.float().mean() < 1
    with pytest.raises(ValueError, match="min_confidence=1 is set, but the file has no confidence"):
        open_recording(tmp_path / "p.npz", options=RecordingConfig(min_confidence=1.0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"c2w": np.tile(np.eye(4), (2, 1, 1))}, "3 depth maps, but poses .2, 4, 4."),
        ({"depth": np.ones((T, 24, 20))}, "depth is 24x20 .height x width. and its image 24x32"),
        ({"depth": np.ones((T, 24))}, "depth is .3, 24., expected"),
        ({"images": np.zeros((T, 24, 32, 3))}, "images are float64"),
        ({"images": np.zeros((2, 24, 32, 3), np.uint8)}, "3 depth maps, but 2 images"),
        ({"c2w": 2 * np.tile(np.eye(4), (T, 1, 1))}, "frame 000000 has a pose that is not rigid"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, arrays, changes, said):
    np.savez(tmp_path / "p.npz", **ours(arrays) | changes)
    with pytest.raises(ValueError, match=said):
        open_recording(tmp_path / "p.npz")


def test_files_that_are_none_are_named(tmp_path, arrays):
    np.savez(tmp_path / "p.npz", depth=arrays["depth"])
    with pytest.raises(ValueError, match="holds depth; known are this project.*VGGT"):
        open_recording(tmp_path / "p.npz")
    (tmp_path / "q.npz").write_bytes((tmp_path / "p.npz").read_bytes()[:-60])
    with pytest.raises(ValueError, match="q.npz: cannot be read as an .npz"):
        open_recording(tmp_path / "q.npz")


@pytest.fixture
def cut3r(tmp_path, room, arrays):
    for part in ("camera", "color", "depth", "conf"):
        (tmp_path / part).mkdir()
    for i in range(T):
        np.savez(
            tmp_path / "camera" / f"{i:06d}.npz", pose=arrays["c2w"][i], intrinsics=arrays["K"][i]
        )
        np.save(tmp_path / "depth" / f"{i:06d}.npy", arrays["depth"][i])
        write_frame(room.frames[i], tmp_path / "color" / f"{i:06d}.png")
    return tmp_path


def test_a_folder_of_cut3r(cut3r, room):
    assert_room(open_recording(cut3r), room)
    (cut3r / "depth" / "000001.npy").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 3 frames.*000001: no depth"):
        open_recording(cut3r)
    (cut3r / "camera" / "000000.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="000000.npz: is not an .npz with pose and intrinsics"):
        open_recording(cut3r, missing="skip")


def test_a_folder_of_vipe(tmp_path, room, arrays):
    for part in ("pose", "intrinsics", "rgb"):
        (tmp_path / part).mkdir()
    inds = np.array([0, 2])
    K = arrays["K"][inds]
    rows = np.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], axis=1)
    np.savez(tmp_path / "pose" / "a.npz", inds=inds, data=arrays["c2w"][inds])
    np.savez(tmp_path / "intrinsics" / "a.npz", inds=inds, data=rows)
    write_video(tmp_path / "rgb" / "a.mp4", room.frames)
    recording = open_recording(tmp_path)
    assert recording.names == ("000000", "000002") and not recording.has_depth
    clip = recording.clip([1])
    assert torch.allclose(clip.cameras.c2w[0], room.cameras.c2w[2], atol=1e-6)
    assert (clip.frames[0] - room.frames[2]).abs().mean() < 0.03
    np.savez(tmp_path / "intrinsics" / "a.npz", inds=inds, data=rows[:, :3])
    with pytest.raises(ValueError, match="do not cover the same frames of a pinhole"):
        open_recording(tmp_path)
    write_video(tmp_path / "rgb" / "b.mp4", room.frames)
    with pytest.raises(ValueError, match="predictions for 2 videos"):
        open_recording(tmp_path)

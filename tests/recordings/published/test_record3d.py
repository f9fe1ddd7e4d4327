"""Record3D's files, written from a room whose cameras are known."""

import json
import sys
import types
import zipfile
import zlib

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from anchorweave.images import write_frame
from anchorweave.recordings import RecordingConfig, open_recording
from anchorweave.recordings.nerfstudio import OPENGL
from anchorweave.recordings.published import record3d
from anchorweave.recordings.search import find_recordings
from tests.rooms import walk

T = 3


@pytest.fixture(scope="module")
def room():
    return walk(T)


@pytest.fixture
def files(tmp_path, room):
    """An unpacked .r3d; LZFSE's place is taken by zlib, see `decoded`."""
    folder = tmp_path / "walk"
    (folder / "rgbd").mkdir(parents=True)
    poses = []
    for i, c2w in enumerate(room.cameras.recorded_c2w @ OPENGL):
        turn = Rotation.from_matrix(c2w[:3, :3].numpy()).as_quat()
        poses.append([*turn.tolist(), *c2w[:3, 3].tolist()])
        write_frame(room.frames[i], folder / "rgbd" / f"{i}.png")
        (folder / "rgbd" / f"{i}.png").rename(folder / "rgbd" / f"{i}.jpg")
        depth = room.depth[i, ::2, ::2].numpy().copy()
        depth[0, 0] = np.nan
        (folder / "rgbd" / f"{i}.depth").write_bytes(zlib.compress(depth.tobytes()))
        sure = np.broadcast_to(np.arange(12)[:, None] // 4, (12, 16)).astype(np.uint8)
        (folder / "rgbd" / f"{i}.conf").write_bytes(zlib.compress(sure.tobytes()))
    told = {"w": 32, "h": 24, "dw": 16, "dh": 12, "fps": 60, "poses": poses}
    told["K"] = room.cameras.K[0].T.flatten().tolist()
    (folder / "metadata").write_text(json.dumps(told))
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """A decoder where none is installed: what is compressed is not the reader's business."""
    module = types.ModuleType("liblzfse")
    module.__spec__ = types.SimpleNamespace(name="liblzfse")
    module.decompress = zlib.decompress
    monkeypatch.setitem(sys.modules, "liblzfse", module)


@pytest.fixture
def undecoded(monkeypatch):
    monkeypatch.setattr(record3d, "DECODERS", ("no_such_decoder",))


def packed(folder):
    file = folder.with_suffix(".r3d")
    with zipfile.ZipFile(file, "w") as stored:
        for one in folder.rglob("*"):
            if one.is_file():
                stored.write(one, one.relative_to(folder))
    return file


def assert_room(recording, room, frames=(0, 1, 2)):
    clip, at = recording.clip(range(len(recording))), list(frames)
    assert torch.allclose(clip.cameras.c2w, room.cameras.c2w[at], atol=1e-5)
    assert torch.allclose(clip.cameras.K, room.cameras.K[at])
    # Rounded to 8 bits.
    assert (clip.frames - room.frames[at]).abs().max() <= 0.5 / 255 + 1e-6
    return clip


@pytest.mark.parametrize("pack", [packed, lambda folder: folder])
def test_colours_cameras_and_depth(files, room, decoded, pack):
    clip = assert_room(open_recording(pack(files)), room)
    # The maps have half the size, and each pixel serves four; one of them is unknown.
    expected = room.depth[:, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert not clip.depth[:, :2, :2].any()
    assert torch.equal(clip.depth[:, 2:], expected[:, 2:])
    sure = open_recording(pack(files), options=RecordingConfig(min_confidence=1.0)).depth(0)
    assert not sure[:8].any() and (sure[8:] > 0).all()


@pytest.mark.parametrize("pack", [packed, lambda folder: folder])
def test_without_a_decoder_it_opens_without_depth_and_says_so(files, room, undecoded, pack):
    with pytest.warns(UserWarning, match="without depth, which is LZFSE .`pip install pyliblzfse`"):
        recording = open_recording(pack(files))
    assert not recording.has_depth
    assert_room(recording, room)
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="min_confidence is set, but its depth is not read"),
    ):
        open_recording(pack(files), options=RecordingConfig(min_confidence=1.0))


def test_the_export_for_other_programs(files, room):
    (files / "rgbd").rename(files / "rgb")
    (files / "metadata").rename(files / "metadata.json")
    with pytest.warns(UserWarning, match="OpenEXR"):
        assert_room(open_recording(files), room)


def test_intrinsics_of_each_frame_and_given_ones(files, decoded):
    told = json.loads((files / "metadata").read_text())
    told["perFrameIntrinsicCoeffs"] = [[20.0 + i, 21.0, 15.0, 11.0] for i in range(T)]
    (files / "metadata").write_text(json.dumps(told))
    assert open_recording(files).cameras.K[:, 0, 0].tolist() == [20, 21, 22]
    given = RecordingConfig(intrinsics=(30.0, 30.0, 16.0, 12.0))
    assert open_recording(files, options=given).cameras.K[1, 0, 0] == 30


def test_frames_that_lack_something(files, room, decoded):
    (files / "rgbd" / "1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 3 frames.*1: no rgbd/1.jpg"):
        open_recording(files)
    assert_room(open_recording(files, missing="skip"), room, (0, 2))
    (files / "rgbd" / "2.depth").unlink()
    with pytest.raises(FileNotFoundError, match="2 of 3 frames.*2: no rgbd/2.depth"):
        open_recording(files)


def test_files_that_are_damaged_are_named(files, decoded):
    (files / "rgbd" / "0.depth").write_bytes(b"none")
    with pytest.raises(ValueError, match="rgbd/0.depth cannot be decompressed"):
        open_recording(files).depth(0)
    (files / "rgbd" / "0.depth").write_bytes(zlib.compress(bytes(40)))
    with pytest.raises(ValueError, match="rgbd/0.depth holds 10 numbers, expected 12x16"):
        open_recording(files).depth(0)
    (files / "metadata").write_text('{"w": 32, "h": 24, "poses": [[1]], "K": []}')
    with pytest.raises(ValueError, match="metadata is not Record3D metadata .*lists of 7 numbers"):
        open_recording(files)
    file = files.with_suffix(".r3d")
    file.write_bytes(b"none")
    with pytest.raises(ValueError, match="walk.r3d: is not an .r3d, which is a zip"):
        open_recording(file)
    with zipfile.ZipFile(file, "w") as stored:
        stored.writestr("readme", "")
    with pytest.raises(ValueError, match="holds no metadata"):
        open_recording(file)


def test_a_folder_of_them_is_searched(files, decoded):
    file = packed(files)
    (file.parent / "many").mkdir()
    file.rename(file.parent / "many" / file.name)
    assert list(find_recordings(str(file.parent / "many"))) == ["walk"]

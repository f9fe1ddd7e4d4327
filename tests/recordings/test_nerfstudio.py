import json
import math

import pytest
import torch

from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import project
from anchorweave.images import write_frame
from anchorweave.perception.recorded import Recorded
from anchorweave.recordings.nerfstudio import open_nerfstudio, write_recording

SIZE = (12, 16)


def small_clip(T=4, seed=0, depth=True):
    random = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(T, 3, 3, generator=random))[0]
    c2w = torch.eye(4).repeat(T, 1, 1)
    c2w[:, :3, :3] = axes * torch.linalg.det(axes)[:, None, None]
    c2w[:, :3, 3] = torch.randn(T, 3, generator=random)
    cameras = Cameras(c2w, intrinsics(14.0, 15.0, 8.5, 5.5).repeat(T, 1, 1), SIZE)
    frames = torch.randint(0, 256, (T, 3, *SIZE), generator=random).float() / 255
    steps = torch.randint(0, 4000 if depth else 1, (T, *SIZE), generator=random)
    return Clip(frames, steps * 1e-3, cameras, tuple("abcdefgh"[:T]))


@pytest.fixture
def folder(tmp_path):
    write_recording(small_clip(), tmp_path / "room")
    return tmp_path / "room"


def edited(folder, change):
    """The recording after `change` was made to its parsed json."""
    file = folder / "transforms.json"
    meta = json.loads(file.read_text())
    change(meta)
    file.write_text(json.dumps(meta))
    return file


@pytest.mark.parametrize("depth", [True, False])
def test_what_is_written_is_read_back(tmp_path, depth):
    clip = small_clip(depth=depth)
    write_recording(clip, tmp_path / "room")
    recording = open_nerfstudio(tmp_path / "room" / "transforms.json")
    read = recording.clip(range(4))
    assert recording.has_depth == depth and (tmp_path / "room" / "depth").exists() == depth
    torch.testing.assert_close(read.frames, clip.frames)
    torch.testing.assert_close(read.depth, clip.depth)
    torch.testing.assert_close(read.cameras.c2w, clip.cameras.c2w)
    assert torch.equal(read.cameras.K, clip.cameras.K) and read.cameras.size == SIZE
    assert read.names[1] == "images/000001.png"


def test_stored_poses_are_opengl(folder):
    """A point in front of the camera has negative z in the stored (OpenGL) camera frame."""
    clip = small_clip()
    meta = json.loads((folder / "transforms.json").read_text())
    stored = torch.tensor(meta["frames"][0]["transform_matrix"])
    up_and_ahead = torch.tensor([0.0, 0.1, -1.0, 1.0])
    position, z = project((stored @ up_and_ahead)[None, :3], clip.cameras[0])
    assert z.item() == pytest.approx(1.0, abs=1e-5)
    assert position[0, 1] < clip.cameras[0].K[1, 2]  # up is a smaller row


def test_an_existing_folder_is_not_touched(folder):
    with pytest.raises(FileExistsError, match="room"):
        write_recording(small_clip(), folder)


def test_a_failed_write_leaves_no_folder(tmp_path):
    clip = small_clip()
    clip.depth[2, 0, 0] = 70.0
    with pytest.raises(ValueError, match="000002.png.*uint16"):
        write_recording(clip, tmp_path / "room")
    assert not list(tmp_path.iterdir())


def test_missing_images_are_counted_and_may_be_skipped(folder):
    for i in (1, 3):
        (folder / f"images/00000{i}.png").unlink()
    with pytest.raises(FileNotFoundError, match="2 of 4 .*images/000001.png.*missing=skip"):
        open_nerfstudio(folder / "transforms.json")
    recording = open_nerfstudio(folder / "transforms.json", missing="skip")
    assert recording.names == ("images/000000.png", "images/000002.png")
    read, clip = recording.clip([0, 1]), small_clip()
    torch.testing.assert_close(read.cameras.c2w, clip.cameras.c2w[[0, 2]])
    torch.testing.assert_close(read.frames, clip.frames[[0, 2]])


def test_a_recording_without_any_image_cannot_be_skipped_empty(folder):
    for image in (folder / "images").iterdir():
        image.unlink()
    with pytest.raises(FileNotFoundError, match="4 of 4"):
        open_nerfstudio(folder / "transforms.json", missing="skip")


def test_depth_for_some_frames_only_is_refused(folder):
    def drop(meta):
        del meta["frames"][2]["depth_file_path"]

    with pytest.raises(FileNotFoundError, match="1 of 4 .*000002.png.*no depth_file_path"):
        open_nerfstudio(edited(folder, drop))
    assert len(open_nerfstudio(folder / "transforms.json", missing="skip")) == 3


@pytest.mark.parametrize("way", ["dots", "absolute", "link", "depth"])
def test_a_path_that_leaves_the_folder_is_refused(folder, tmp_path, way):
    outside = tmp_path / "secret7.png"
    outside.write_bytes((folder / "images/000000.png").read_bytes())
    path = {"absolute": str(outside), "link": "images/link7.png"}.get(way, "../secret7.png")
    (folder / "images/link7.png").symlink_to(outside)
    key = "depth_file_path" if way == "depth" else "file_path"
    file = edited(folder, lambda meta: meta["frames"][0].update({key: path}))
    with pytest.raises(ValueError, match=r"7\.png is outside the recording's folder"):
        open_nerfstudio(file, missing="skip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["transform_matrix"][0].__setitem__(3, math.nan), "000002.png.*NaN"),
        (lambda f: f["transform_matrix"][0].__setitem__(0, 3.0), "000002.png.*not rigid"),
        (lambda f: f.update(transform_matrix=[[1.0, 0.0]]), r"000002.png.*\(1, 2\)"),
        (lambda f: f.update(cx=900.0), "000002.png.*does not fit its image of 12x16"),
        (lambda f: f.update(fl_x=0.5), "000002.png.*does not fit its image of 12x16"),
        (lambda f: f.update(w=160, h=120), "000002.png.*12x16.*120x160"),
        (lambda f: f.update(camera_model="OPENCV_FISHEYE"), "000002.png.*OPENCV_FISHEYE"),
        (lambda f: f.pop("fl_x"), "000002.png.*neither fl_x nor camera_angle_x"),
        (lambda f: f.pop("transform_matrix"), "entry 2 .*no transform_matrix"),
        (lambda f: f.update(transform_matrix=None), "000002.png.*transform_matrix is not a matrix"),
        (lambda f: f.update(file_path=None), "entry 2 .*file_path None, expected a path"),
        (lambda f: f.update(file_path=7), "entry 2 .*file_path 7, expected a path"),
        (lambda f: f.update(depth_file_path=None), "entry 2 .*depth_file_path None, expected a"),
        (lambda f: f.update(fl_x="abc"), "000002.png: fl_x is 'abc', expected a finite number"),
        (lambda f: f.update(cy=None), "000002.png: cy is None, expected a finite number"),
        (lambda f: f.update(w=math.inf), "000002.png: w is inf, expected a finite number"),
        (lambda f: f.update(h=[12]), r"000002.png: h is \[12\], expected a finite number"),
        (lambda f: f.update(k1="x"), "000002.png: k1 is 'x', expected a finite number"),
        (
            lambda f: (f.pop("fl_x"), f.update(camera_angle_x=0)),
            r"000002.png: camera_angle_x is 0.0, expected radians in \(0, pi\)",
        ),
    ],
)
def test_a_wrong_frame_is_named(folder, change, message):
    file = edited(folder, lambda meta: change(meta["frames"][2]))
    with pytest.raises(ValueError, match=message):
        open_nerfstudio(file)


def test_a_wrong_step_of_depth_is_named(folder):
    file = edited(folder, lambda meta: meta.update(depth_unit_scale_factor="mm"))
    with pytest.raises(ValueError, match="transforms.json: depth_unit_scale_factor is 'mm'"):
        open_nerfstudio(file)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"frames": []}', '{"frames": {"a": 1}}'])
def test_a_json_without_frames_is_named(tmp_path, text):
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(ValueError, match="transforms.json"):
        open_nerfstudio(tmp_path / "transforms.json")


def test_frames_that_are_no_objects_are_named(tmp_path):
    (tmp_path / "transforms.json").write_text('{"frames": [1, 2]}')
    with pytest.raises(ValueError, match="transforms.json: entry 0 of frames is 1, expected"):
        open_nerfstudio(tmp_path / "transforms.json")


def test_an_image_of_another_size_is_named_when_read(folder):
    recording = open_nerfstudio(folder / "transforms.json")
    write_frame(torch.zeros(3, 6, 8), folder / "images/000001.png")
    with pytest.raises(ValueError, match="000001.png.*6x8.*12x16"):
        recording.frame(1)


def test_a_frame_without_valid_depth_is_read_and_perception_names_it(tmp_path):
    clip = small_clip()
    clip.depth[1] = 0
    write_recording(clip, tmp_path / "room")
    recording = open_nerfstudio(tmp_path / "room/transforms.json")
    read = recording.clip([0, 1])
    torch.testing.assert_close(read.frames, clip.frames[:2])
    assert read.depth[0].any() and not read.depth[1].any()
    with pytest.raises(ValueError, match="1 of 2 frames have no valid depth: images/000001.png"):
        Recorded()(read)


def test_global_intrinsics_view_angle_and_suffixless_paths(folder):
    def blender_style(meta):
        for frame in meta["frames"]:
            for key in ("fl_x", "fl_y", "cx", "cy", "w", "h", "depth_file_path"):
                del frame[key]
            frame["file_path"] = frame["file_path"].removesuffix(".png")
        meta["camera_angle_x"] = 2 * math.atan(0.5 * 16 / 20)

    cameras = open_nerfstudio(edited(folder, blender_style)).cameras
    torch.testing.assert_close(cameras.K[3], intrinsics(20.0, 20.0, 8.0, 6.0))


def test_a_smaller_copy_of_the_images_serves_with_its_own_intrinsics(folder):
    """As DL3DV ships: the json speaks of images/ at full size, images_2/ is what is there."""

    def full_size(meta):
        for frame in meta["frames"]:
            frame["w"], frame["h"] = 2 * frame["w"], 2 * frame["h"]
            for key in ("fl_x", "fl_y", "cx", "cy"):
                frame[key] *= 2

    (folder / "images").rename(folder / "images_2")
    read = open_nerfstudio(edited(folder, full_size)).clip(range(4))
    torch.testing.assert_close(read.cameras.K, small_clip().cameras.K)
    assert read.cameras.size == SIZE
    torch.testing.assert_close(read.frames, small_clip().frames)
    (folder / "images_2").rename(folder / "images_4")
    with pytest.raises(ValueError, match="000000.png.*12x16.*6x8"):
        open_nerfstudio(folder / "transforms.json")


def test_frames_are_ordered_by_number_if_all_have_one(folder):
    def shuffled(meta):
        meta["frames"] = [meta["frames"][i] for i in (2, 0, 3, 1)]

    read = open_nerfstudio(edited(folder, shuffled)).clip(range(4))
    torch.testing.assert_close(read.frames, small_clip().frames)
    torch.testing.assert_close(read.cameras.c2w, small_clip().cameras.c2w)


def test_a_lens_is_undone_for_colour_and_depth_together(folder):
    plain = open_nerfstudio(folder / "transforms.json")
    bent = open_nerfstudio(edited(folder, lambda meta: meta.update(k1=0.3, p1=0.01)))
    assert bent.cameras.size != plain.cameras.size  # unseen strips are cut off
    clip = bent.clip(range(4))
    assert clip.frames.shape[-2:] == clip.depth.shape[-2:] == bent.cameras.size
    assert not torch.equal(clip.cameras.K, plain.cameras.K)

"""Recordings as other programs and people write them, each with one wart."""

import numpy as np
import pytest
import torch
from PIL import Image

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.recordings import RecordingConfig, open_recording
from anchorweave.recordings.frame_order import by_number, frame_order
from anchorweave.recordings.nerfstudio import write_recording
from anchorweave.recordings.search import find_recordings
from anchorweave.run_config import RolloutConfig, RunConfig
from inference.runs.path import planned_cameras
from tests.recordings.test_nerfstudio import edited, small_clip
from tests.recordings.test_rgbd import colour, pose
from tests.recordings.test_rgbd import scannet as scannet  # noqa: PLC0414
from tests.recordings.test_rgbd import seven_scenes as seven_scenes  # noqa: PLC0414
from tests.recordings.test_rgbd import tum as tum  # noqa: PLC0414


@pytest.fixture
def folder(tmp_path):
    write_recording(small_clip(), tmp_path / "room")
    return tmp_path / "room"


def renamed(folder, names):
    def change(meta):
        for frame, name in zip(meta["frames"], names, strict=True):
            (folder / frame["file_path"]).rename(folder / f"images/{name}.png")
            frame["file_path"] = f"images/{name}.png"

    return edited(folder, change)


def each(**keys):
    return lambda meta: [frame.update(keys) for frame in meta["frames"]]


def test_names_with_dots_are_frames_of_their_own(scannet):
    for old, new in (("0", "7_6790.299"), ("2", "7_6790.399"), ("10", "7_6790.4995")):
        for part, suffix in (("color", "jpg"), ("depth", "png"), ("pose", "txt")):
            (scannet / part / f"{old}.{suffix}").rename(scannet / part / f"{new}.{suffix}")
    recording = open_recording(scannet)
    assert recording.names == ("7_6790.299", "7_6790.399", "7_6790.4995")
    torch.testing.assert_close(recording.cameras.c2w[2], torch.tensor(pose(10)).float())
    torch.testing.assert_close(recording.depth(1)[5, 5], torch.tensor(1.002))


def test_two_files_of_one_frame_are_refused(scannet):
    colour(0).save(scannet / "color/0.png")
    with pytest.raises(ValueError, match="0.jpg and 0.png both belong to frame '0'"):
        open_recording(scannet)


def test_hidden_files_are_no_frames(scannet):
    for name in ("color/._0.jpg", "depth/._0.png", "pose/._0.txt", "color/.DS_Store"):
        (scannet / name).write_bytes(b"\0\5\x16\7")
    (scannet / "color/Thumbs.db").write_bytes(b"x")
    assert open_recording(scannet).names == ("0", "2", "10")


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["12.5", "12.125", "9", "12.25"], ["9", "12.125", "12.25", "12.5"]),
        (["1.10", "1.9", "1.1"], ["1.1", "1.9", "1.10"]),
        (["b10", "b9", "a11"], ["a11", "b9", "b10"]),
    ],
)
def test_numbers_are_ordered_by_value(names, order):
    assert [names[i] for i in by_number(names)] == order


def test_decimals_stay_in_the_order_of_time(folder):
    names = ["12.0", "12.125", "12.25", "12.5"]
    recording = open_recording(renamed(folder, names))
    assert recording.names == tuple(f"images/{name}.png" for name in names)
    torch.testing.assert_close(recording.frame(2), small_clip().frames[2])


def test_a_list_that_is_meant_is_kept(tmp_path):
    file = tmp_path / "transforms.json"
    two_cameras = ["a/2.png", "b/1.png", "a/1.png", "b/2.png"]
    assert frame_order(file, two_cameras, "auto") == [0, 1, 2, 3]
    begins_anew = ["i9998.png", "i9999.png", "i0001.png", "i0002.png"]
    with pytest.warns(UserWarning, match="kept as listed"):
        assert frame_order(file, begins_anew, "auto") == [0, 1, 2, 3]
    shuffled = ["f3.png", "f1.png", "f4.png", "f2.png"]
    with pytest.warns(UserWarning, match="sorted by number .set recording.order=listed"):
        assert frame_order(file, shuffled, "auto") == [1, 3, 0, 2]
    assert frame_order(file, shuffled, "listed") == [0, 1, 2, 3]


def test_a_frame_that_is_listed_twice_is_refused(folder):
    file = edited(folder, lambda m: m["frames"][3].update(file_path="images/000001.png"))
    with pytest.raises(ValueError, match="both use images/000001.png"):
        open_recording(file)


@pytest.mark.parametrize(
    ("K", "message"),
    [
        ((145.8, 145.2, 97.2, 64.6), "64x96.*principal point lies outside"),
        ((36.0, 36.0, 24.0, 16.0), "64x96.*image of about 32x48"),
        ((72.0, 72.0, 32.0, 48.0), "64x96.*rotated by 90 degrees"),
    ],
)
def test_a_K_of_another_image_is_refused(K, message):
    cameras = Cameras(torch.eye(4)[None], intrinsics(*K)[None], (64, 96))
    with pytest.raises(ValueError, match=message):
        cameras.validated("here")


def test_a_K_off_the_middle_is_taken():
    for K in ((72.0, 70.0, 52.0, 30.0), (72.0, 72.0, 48.0, 44.0)):
        Cameras(torch.eye(4)[None], intrinsics(*K)[None], (64, 96)).validated("here")


@pytest.mark.parametrize("size", [(16, 12), (6, 12)])
def test_depth_of_another_aspect_is_refused(folder, size):
    Image.fromarray(np.full(size, 1000, np.uint16)).save(folder / "depth/000000.png")
    with pytest.raises(
        ValueError, match=f"000000.png: the depth map is {size[0]}x{size[1]}.*12x16"
    ):
        open_recording(folder).depth(0)


def test_paths_that_name_a_copy_mean_it(folder):
    (folder / "images").rename(folder / "images_2")

    def named(meta):
        for frame in meta["frames"]:
            frame["file_path"] = frame["file_path"].replace("images", "images_2")

    torch.testing.assert_close(
        open_recording(edited(folder, named)).cameras.K, small_clip().cameras.K
    )


def test_sizes_of_copies_may_be_rounded_up(folder):
    (folder / "images").rename(folder / "images_4")
    file = edited(folder, each(w=61, h=46, fl_x=56.0, fl_y=60.0, cx=34.0, cy=22.0))
    cameras = open_recording(file).cameras
    assert cameras.size == (12, 16)
    assert cameras.K[0, 0, 0].item() == pytest.approx(56 * 16 / 61, rel=1e-6)


def test_images_of_several_sizes_are_named(folder):
    Image.new("RGB", (12, 16)).save(folder / "images/000001.png")
    file = edited(folder, lambda m: m["frames"][1].update(w=12, h=16, cx=6.0, cy=8.0))
    with pytest.raises(ValueError, match="000000.png is 12x16, images/000001.png is 16x12"):
        open_recording(file)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_json(folder, encoding):
    file = folder / "transforms.json"
    file.write_text(file.read_text(), encoding=encoding)
    (folder / "caption.txt").write_text("a room", encoding="utf-8-sig")
    assert len(open_recording(folder)) == 4 and open_recording(folder).caption() == "a room"


def test_paths_of_windows(folder):
    file = edited(folder, lambda m: m["frames"][0].update(file_path="images\\000000.png"))
    torch.testing.assert_close(open_recording(file).frame(0), small_clip().frames[0])
    file = edited(folder, lambda m: m["frames"][0].update(file_path="C:\\data\\000000.png"))
    with pytest.raises(ValueError, match="is a path on a Windows drive"):
        open_recording(file)


def ngp(meta):
    for frame in meta["frames"]:
        frame["depth_path"] = frame.pop("depth_file_path")
    meta["integer_depth_scale"] = meta.pop("depth_unit_scale_factor") / 4


def test_depth_in_the_words_of_instant_ngp(folder):
    file = edited(folder, ngp)
    torch.testing.assert_close(open_recording(file).depth(1), small_clip().depth[1] / 4)
    edited(folder, lambda m: m.update(depth_unit_scale_factor=0.5))
    with pytest.raises(ValueError, match="depth_unit_scale_factor 0.5 and integer_depth_scale"):
        open_recording(file)
    edited(folder, lambda m: (m.pop("depth_unit_scale_factor"), m.pop("integer_depth_scale")))
    with pytest.raises(ValueError, match="no integer_depth_scale"):
        open_recording(file)
    scaled = open_recording(file, options=RecordingConfig(depth_scale=1000.0))
    torch.testing.assert_close(scaled.depth(1), small_clip().depth[1])
    edited(folder, lambda m: m.update(enable_depth_loading=False))
    assert not open_recording(file).has_depth


def test_depth_in_arrays(folder):
    stored = small_clip().depth.numpy().copy()
    stored[:, 0, 0] = np.nan
    for i, one in enumerate(stored):
        np.save(folder / f"depth/{i:06d}.npy", one)

    def arrays(meta):
        meta.pop("depth_unit_scale_factor")
        for i, frame in enumerate(meta["frames"]):
            frame["depth_file_path"] = f"depth/{i:06d}.npy"

    file = edited(folder, arrays)
    with pytest.raises(ValueError, match="000002.npy: is depth in floats.*recording.depth_scale=1"):
        open_recording(file).depth(2)
    depth = open_recording(edited(folder, lambda m: m.update(depth_unit_scale_factor=1))).depth(2)
    expected = small_clip().depth[2]
    expected[0, 0] = 0
    torch.testing.assert_close(depth, expected)
    np.save(folder / "depth/000002.npy", -stored[2])
    with pytest.raises(ValueError, match="000002.npy: depths span"):
        open_recording(file).depth(2)


def test_masks_keep_moving_things_out_of_memory(folder):
    (folder / "masks").mkdir()
    for i in range(4):
        mask = np.full((12, 16), 255, np.uint8)
        mask[:, : 4 + i] = 0
        Image.fromarray(mask).save(folder / f"masks/{i}.png")

    def masked(meta):
        for i, frame in enumerate(meta["frames"]):
            frame["mask_path"] = f"masks/{i}.png"

    file = edited(folder, masked)
    clip = open_recording(file).clip([2, 0])
    assert not clip.static[0, :, :6].any() and clip.static[0, :, 6:].all()
    assert not clip.static_depth[1, :, :4].any()
    torch.testing.assert_close(clip.static_depth[1, :, 4:], small_clip().depth[0, :, 4:])
    # A resized pixel that is mixed from the thing and its surroundings is not static either.
    assert open_recording(file).clip([0], size=(6, 8)).static[0].float().mean() == 0.625
    edited(folder, lambda m: m["frames"][1].pop("mask_path"))
    with pytest.raises(FileNotFoundError, match="000001.png: no mask_path, although other"):
        open_recording(file)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"depth_filepath": "x"}, "depth_filepath.*did you mean depth_file_path"),
        ({"maskPath": "x"}, "maskPath.*did you mean mask_path"),
        ({"depth_map": "x"}, "unknown key 'depth_map'"),
        ({"rolling_shutter": [0, 0, 0.1, 0]}, "rolling_shutter is .* not supported"),
    ],
)
def test_a_key_that_would_mean_something_is_named(folder, keys, message):
    with pytest.raises(ValueError, match=message):
        open_recording(edited(folder, each(**keys)))


def test_keys_that_mean_nothing_here_are_left_alone(folder):
    keys = {"colmap_im_id": 3, "sharpness": 12.5, "rolling_shutter": [0, 0, 0, 0], "time": 0.5}
    top = {"applied_scale": 0.3, "ply_file_path": "a.ply", "aabb_scale": 4, "camera_angle_y": 1.0}
    edited(folder, lambda m: m.update(top))
    assert len(open_recording(edited(folder, each(**keys)))) == 4


def test_scale_of_depth_and_intrinsics_may_be_given(tum):
    given = RecordingConfig(depth_scale=1000.0, intrinsics=(500.0, 510.0, 300.0, 250.0))
    recording = open_recording(tum, options=given)
    torch.testing.assert_close(recording.depth(1)[5, 5], torch.tensor(1.001))
    assert recording.cameras.K[1].flatten()[[0, 2, 4, 5]].tolist() == [500, 300, 510, 250]
    with pytest.raises(ValueError, match="a procedural room.*remove it"):
        open_recording("procedural:seed=1", options=given)


@pytest.mark.parametrize("options", [{"depth_scale": 0.0}, {"intrinsics": (1.0, 2.0)}])
def test_options_that_cannot_be_are_named(options):
    with pytest.raises(ValueError, match=f"recording.{next(iter(options))}="):
        RecordingConfig(**options)


@pytest.mark.parametrize("unit", [1e300, 0.0, -0.001])
def test_steps_of_depth_that_cannot_be_are_refused(folder, unit):
    with pytest.raises(ValueError, match="one step of depth is"):
        open_recording(edited(folder, lambda m: m.update(depth_unit_scale_factor=unit)))


@pytest.mark.parametrize("unit", ["scene", "recording"])
def test_lengths_of_a_camera_file(tmp_path, unit):
    row = "{} 0.75 1.1 0.5 0.5 0 0 1 0 0 {} 0 1 0 0 0 0 1 0"
    (tmp_path / "x.txt").write_text("\n".join(row.format(i, -float(i)) for i in range(3)))
    rollout = RolloutConfig(trajectory=str(tmp_path / "x.txt"), segments=1, unit=unit)
    start = Cameras(torch.eye(4), intrinsics(20.0, 20.0, 16.0, 12.0), (24, 32))
    cameras = planned_cameras(RunConfig(frames=5, rollout=rollout), start, 3.0)
    assert cameras.centres[-1, 0].item() == pytest.approx(6.0 if unit == "scene" else 2.0)


@pytest.mark.parametrize("part", ["color.png", "depth.png", "pose.txt"])
def test_seven_scenes_files_may_not_lead_out(seven_scenes, tmp_path_factory, part):
    file = seven_scenes / f"frame-000002.{part}"
    outside = tmp_path_factory.mktemp("outside") / part
    file.rename(outside)
    file.symlink_to(outside)
    with pytest.raises(ValueError, match=f"frame-000002.{part} is outside the recording's folder"):
        open_recording(seven_scenes, "skip")


@pytest.mark.parametrize("file", ["color/2.png", "depth/2.png", "pose/2.txt"])
def test_scannet_files_may_not_lead_out(scannet, tmp_path_factory, file):
    outside = tmp_path_factory.mktemp("outside") / "file"
    there = next(iter(sorted((scannet / file).parent.iterdir())))
    there.rename(outside)
    there.symlink_to(outside)
    with pytest.raises(ValueError, match=f"{there.name} is outside the recording's folder"):
        open_recording(scannet, "skip")
    # Another name for a file of the recording's own is fine.
    there.unlink()
    outside.rename(there.parent.parent / "kept")
    there.symlink_to(there.parent.parent / "kept")
    assert len(open_recording(scannet)) > 0


def test_folders_and_captions_may_not_lead_out(scannet, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("secret")
    (scannet / "caption.txt").symlink_to(outside / "secret.txt")
    with pytest.raises(ValueError, match="caption.txt is outside the recording's folder"):
        open_recording(scannet).caption()
    (scannet / "color").rename(outside / "color")
    (scannet / "color").symlink_to(outside / "color")
    with pytest.raises(ValueError, match="is outside the recording's folder"):
        open_recording(scannet)


def test_what_breaks_decoders_is_an_error_of_that_recording(folder):
    (folder / "images/a.png").symlink_to("a.png")
    file = edited(folder, lambda m: m["frames"][0].update(file_path="images/a.png"))
    with pytest.raises((ValueError, FileNotFoundError), match="a.png"):
        open_recording(file)
    file.write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        open_recording(file)


def test_a_decompression_bomb_is_an_error_of_its_image(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(ValueError, match="000000.png: cannot be read as an image"):
        open_recording(folder)


def test_links_in_a_circle_end_no_search(folder):
    (folder.parent / "again").symlink_to(folder.parent)
    (folder.parent / "__MACOSX").mkdir()
    assert list(find_recordings(str(folder.parent))) == ["room"]

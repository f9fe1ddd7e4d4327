from pathlib import Path

import pytest
import torch

from anchorweave.images import write_frame
from anchorweave.recordings import open_recording
from anchorweave.video import write_video
from tests.alike import alike

TRAJECTORIES = Path(__file__).parents[3] / "shared" / "data" / "re10k_poses"
# World-to-camera: a quarter turn about y (the camera looks along world +x), then a shift.
ROWS = "0 0 -1 {shift} 0 1 0 0.2 1 0 0 0.3"


def line(i, stamp=None, zeros="0 0", rows=ROWS):
    stamp = 2_000_000 + i * 125_000 if stamp is None else stamp
    return f"{stamp} 0.5 0.8 0.5 0.45 {zeros} {rows.format(shift=0.1 * i)}"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "walk.txt"
    path.write_text("\n".join(["https://video", *(line(i) for i in range(4))]) + "\n")
    return path


def grey(i, size=(40, 60)):
    return torch.full((3, *size), 0.04 * (i + 1))


def test_a_camera_file_alone_is_a_trajectory(file):
    recording = open_recording(file)
    assert len(recording) == 4 and recording.cameras.size == (360, 640)
    assert not recording.has_frames and not recording.has_depth
    K = recording.cameras.K[0]
    expected = torch.tensor([[320.0, 0, 320], [0, 288, 162], [0, 0, 1]])
    torch.testing.assert_close(K, expected)
    torch.testing.assert_close(recording.cameras.c2w[0, :3, 2], torch.tensor([1.0, 0, 0]))
    # centre = -R^T t
    torch.testing.assert_close(recording.cameras.centres[2], torch.tensor([-0.3, -0.2, 0.2]))
    for ask in (lambda: recording.clip([0]), lambda: recording.frame(0)):
        with pytest.raises(ValueError, match="walk.txt.*trajectory only"):
            ask()


def test_the_address_may_be_left_out(file):
    whole = open_recording(file)
    file.write_text(file.read_text().split("\n", 1)[1])
    assert alike(open_recording(file).cameras.c2w, whole.cameras.c2w)


def test_frames_of_a_folder_are_found_by_their_stamp(file):
    (file.parent / "walk").mkdir()
    for i in range(4):
        write_frame(grey(i), file.parent / f"walk/{2_000_000 + i * 125_000}.png")
    recording = open_recording(file)
    clip = recording.clip([3, 0])
    assert recording.cameras.size == (40, 60) and (clip.depth == 0).all()
    torch.testing.assert_close(clip.frames[0], grey(3), atol=2e-3, rtol=0)
    (file.parent / "walk/2125000.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 4 .*2125000"):
        open_recording(file)
    torch.testing.assert_close(
        open_recording(file, missing="skip").cameras.c2w[1], recording.cameras.c2w[2]
    )


def test_frames_of_a_video_are_found_by_their_time(file):
    write_video(file.with_suffix(".mp4"), torch.stack([grey(i) for i in range(24)]), fps=8)
    clip = open_recording(file).clip([0, 3])
    # Two seconds in, at 8 frames a second, is frame 16.
    torch.testing.assert_close(clip.frames[0], grey(16), atol=0.015, rtol=0)
    torch.testing.assert_close(clip.frames[1], grey(19), atol=0.015, rtol=0)


def test_cameras_after_the_end_of_the_video_are_counted(file):
    write_video(file.with_suffix(".mp4"), torch.stack([grey(i) for i in range(18)]), fps=8)
    with pytest.raises(FileNotFoundError, match="2 of 4 .*no frame of walk.mp4"):
        open_recording(file)
    assert len(open_recording(file, missing="skip")) == 2


def test_a_cut_off_video_is_named(file):
    file.with_suffix(".mp4").write_bytes(b"half a video")
    with pytest.raises(ValueError, match="walk.mp4.*cannot be read"):
        open_recording(file)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("1 2 3", "line 4.*19 numbers.*got 3"),
        (line(2).replace("0.5", "half", 1), "line 4.*19 numbers"),
        (line(2, stamp=-1.5), "line 4"),
        (line(2, zeros="0.1 0"), "line 4.*undistort"),
        (line(2, rows="nan 0 -1 0 0 1 0 0.2 1 0 0 0.3"), "2250000.*NaN"),
        (line(2, rows="5 0 -1 0 0 1 0 0.2 1 0 0 0.3"), "2250000.*not rigid"),
        (line(2).replace("0.45", "450", 1), "2250000.*does not fit"),
    ],
)
def test_a_wrong_line_is_named(file, wrong, message):
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:3], wrong, lines[4]]))
    with pytest.raises(ValueError, match=f"walk.txt.*{message}"):
        open_recording(file)


@pytest.mark.skipif(not TRAJECTORIES.is_dir(), reason="the real trajectories are not at hand")
def test_real_trajectories():
    files = sorted(TRAJECTORIES.glob("*.txt"))
    for file in files:
        recording = open_recording(file)
        assert len(recording) > 10 and not recording.has_frames
    with pytest.raises(ValueError, match=f"{len(files)} RealEstate10K camera files; open one"):
        open_recording(TRAJECTORIES)


def stamped(file, stamps):
    file.write_text("\n".join(line(i, stamp) for i, stamp in enumerate(stamps)))


@pytest.fixture
def video(file):
    write_video(file.with_suffix(".mp4"), torch.stack([grey(i) for i in range(24)]), fps=8)
    return file


def test_stamps_may_have_decimals(video):
    stamped(video, ["500000.0", "1125000.", "2000000.25"])
    clip = open_recording(video).clip(range(3))
    expected = torch.stack([grey(4), grey(9), grey(16)])
    torch.testing.assert_close(clip.frames, expected, atol=0.015, rtol=0)


@pytest.mark.parametrize("missing", ["error", "skip"])
@pytest.mark.parametrize(
    ("stamps", "unit"),
    [
        ([2, 6, 10, 14], "frame numbers"),
        ([0, 125_000_000, 1_000_000_000], "nanoseconds"),
        ([0, 125, 1000], "milliseconds"),
        (["0.0", "0.125", "1.0"], "seconds"),
    ],
)
def test_stamps_of_another_unit_are_refused(video, stamps, unit, missing):
    stamped(video, stamps)
    with pytest.raises(ValueError, match=f"walk.txt.*do not fit.*but as {unit}"):
        open_recording(video, missing)


def test_two_cameras_of_one_frame_are_counted(video):
    stamped(video, [0, 125_000, 140_000, 250_000])
    with pytest.raises(FileNotFoundError, match="1 of 4.*140000: its frame 1 .*nearer to 125000"):
        open_recording(video)
    assert open_recording(video, "skip").names == ("0", "125000", "250000")


def test_a_stamp_that_comes_twice_is_named(file):
    stamped(file, [5, 7, "5.0"])
    with pytest.raises(ValueError, match="line 3: timestamp 5.0 repeats that of line 1"):
        open_recording(file)


def test_a_folder_of_frames_may_spell_stamps_otherwise(file):
    stamped(file, ["125000.0", "250000"])
    folder = file.with_suffix("")
    folder.mkdir()
    for i, name in enumerate(["125000.png", "250000.0.png", "._125000.png"]):
        write_frame(grey(i), folder / name)
    torch.testing.assert_close(open_recording(file).frame(1), grey(1), atol=2e-3, rtol=0)
    write_frame(grey(3), folder / "125000.jpg")
    with pytest.raises(ValueError, match="125000.jpg and 125000.png have the same timestamp"):
        open_recording(file)


def test_two_places_for_the_frames_of_one_camera_file_are_refused(video):
    for other in ("walk.mov", "walk"):
        there = video.with_name(other)
        there.mkdir() if other == "walk" else there.write_bytes(b"another")
        with pytest.raises(ValueError, match=f"walk.mp4 or {other} beside it"):
            open_recording(video)
        there.rmdir() if other == "walk" else there.unlink()
    assert len(open_recording(video)) == 4


@pytest.mark.parametrize("linked", ["video", "folder", "image"])
def test_frames_that_lie_elsewhere_are_refused(file, tmp_path_factory, linked):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    target = elsewhere / "real"
    if linked == "video":
        write_video(target.with_suffix(".mp4"), torch.stack([grey(i) for i in range(24)]), fps=8)
        file.with_suffix(".mp4").symlink_to(target.with_suffix(".mp4"))
    else:
        folder = target if linked == "folder" else file.with_suffix("")
        folder.mkdir()
        for i in range(4):
            write_frame(grey(i), folder / f"{2_000_000 + i * 125_000}.png")
        if linked == "folder":
            file.with_suffix("").symlink_to(target)
        else:
            (folder / "2125000.png").rename(elsewhere / "one.png")
            (folder / "2125000.png").symlink_to(elsewhere / "one.png")
    with pytest.raises(ValueError, match="is outside the recording's folder"):
        open_recording(file)


def test_a_camera_file_whose_name_has_a_dot_has_its_own_folder(file):
    dotted = file.rename(file.with_name("walk.2.txt"))
    (file.parent / "walk").mkdir()
    (file.parent / "walk.2").mkdir()
    for i in range(4):
        write_frame(grey(i), file.parent / f"walk.2/{2_000_000 + i * 125_000}.png")
    assert open_recording(dotted).has_frames

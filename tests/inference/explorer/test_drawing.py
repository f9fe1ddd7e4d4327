import math

import pytest
import torch

from anchorweave.geometry.cameras import rotation_angle
from anchorweave.geometry.trajectories import MOVE_STEP, trajectory
from inference.explorer import drawing
from inference.explorer.path_files import load_path, save_path, saved_paths, take_upload
from inference.explorer.state import Drawn
from tests.rooms import look

UNIT, FRAMES = 2.0, 9
STEP = MOVE_STEP * UNIT


@pytest.fixture
def start():
    return look([[0.1, 0.2, -1.0]], [0.3])[0]


def ahead(camera, steps):
    view = camera.c2w.clone()
    view[:3, 3] += steps * STEP * camera.c2w[:3, 2]
    return view


def test_a_path_passes_its_keyframes_at_an_even_pace(start):
    drawn = drawing.with_view(drawing.with_view(Drawn(), ahead(start, 4)), ahead(start, 16))
    assert drawing.segment_count(drawn, start, FRAMES, UNIT) == 2
    cameras = drawing.path_cameras(drawn, start, FRAMES, UNIT)
    assert len(cameras) == 17 and torch.equal(cameras.c2w[0], start.c2w)
    gaps = (cameras.centres[1:] - cameras.centres[:-1]).norm(dim=-1)
    # Straight on, so that spline and line are the same; float32 places of about 1.
    torch.testing.assert_close(gaps, torch.full((16,), STEP), atol=1e-5, rtol=0)
    torch.testing.assert_close(cameras.c2w[4], ahead(start, 4), atol=1e-5, rtol=0)
    fast = Drawn(keyframes=drawn.keyframes, speed=2.0)
    assert len(drawing.path_cameras(fast, start, FRAMES, UNIT)) == 9


def test_a_spline_is_smooth_where_lines_have_corners(start):
    corner = ahead(start, 8)
    aside = corner.clone()
    aside[:3, 3] += 8 * STEP * start.c2w[:3, 0]
    drawn = drawing.with_view(drawing.with_view(Drawn(), corner), aside)
    bends = {}
    for smooth in (True, False):
        path = drawing.path_cameras(
            Drawn(keyframes=drawn.keyframes, smooth=smooth), start, FRAMES, UNIT
        )
        way = path.centres[1:] - path.centres[:-1]
        unit = torch.nn.functional.normalize(way, dim=-1)
        bends[smooth] = float((unit[1:] * unit[:-1]).sum(-1).min())
        torch.testing.assert_close(path.c2w[8], corner, atol=1e-5, rtol=0)
    assert bends[False] < 0.01 < 0.7 < bends[True]


def test_a_turn_on_the_spot_takes_as_long_as_its_angle(start):
    drawn = drawing.with_words(Drawn(), "orient_right:16", start, FRAMES, UNIT)
    assert drawing.segment_count(drawn, start, FRAMES, UNIT) == 2
    cameras = drawing.path_cameras(drawn, start, FRAMES, UNIT)
    turned = rotation_angle(cameras.c2w[:-1, :3, :3].double(), cameras.c2w[1:, :3, :3].double())
    torch.testing.assert_close(turned, torch.full_like(turned, math.radians(2)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("spec", ["move_left:8", "orbit(degrees=16)", "move_left:4, orient_up:4"])
def test_words_lead_where_a_rollout_goes(start, spec):
    drawn = drawing.with_words(Drawn(), spec, start, FRAMES, UNIT)
    there = trajectory(spec, start, FRAMES, UNIT)
    torch.testing.assert_close(
        start.c2w.new_tensor(drawn.keyframes[-1]), there.c2w[-1], atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        start.c2w.new_tensor(drawn.keyframes[0]), there.c2w[4], atol=1e-6, rtol=0
    )


def test_walking_appends_once_the_view_moved_far_enough(start):
    near = drawing.walked(Drawn(), start, ahead(start, 2), UNIT)
    assert near == Drawn()
    far = drawing.walked(Drawn(), start, ahead(start, 3.5), UNIT)
    assert len(far.keyframes) == 1
    assert drawing.walked(far, start, ahead(start, 5), UNIT) == far


def test_a_keyframe_is_put_elsewhere_and_deleted(start):
    drawn = Drawn(prompts=("a",), speed=2.0)
    for steps in (4, 8, 12):
        drawn = drawing.with_view(drawn, ahead(start, steps))
    moved = drawing.with_keyframe(drawn, 1, ahead(start, 9))
    assert moved.keyframes == (
        drawn.keyframes[0],
        drawing.pose_of(ahead(start, 9)),
        drawn.keyframes[2],
    )
    assert (moved.prompts, moved.speed) == (("a",), 2.0)
    assert drawing.without_keyframe(drawn, 0).keyframes == drawn.keyframes[1:]
    assert drawing.without_keyframe(drawn, 2).keyframes == drawn.keyframes[:2]
    for wrong in (3, -1):
        for change in (
            lambda wrong=wrong: drawing.with_keyframe(drawn, wrong, start.c2w),
            lambda wrong=wrong: drawing.without_keyframe(drawn, wrong),
        ):
            with pytest.raises(ValueError, match="there is no keyframe"):
                change()


def test_the_rest_of_a_path_goes_on_from_its_first_segment(start):
    drawn = Drawn(start=3, prompts=("a", "b"))
    for steps in (4, 8, 12, 16):
        drawn = drawing.with_view(drawn, ahead(start, steps))
    rest = drawing.rest_of(drawn, start, FRAMES, UNIT)
    assert rest.keyframes == drawn.keyframes[2:] and rest.prompts == ("b",) and rest.start is None
    assert not drawing.rest_of(rest, start, 17, UNIT).keyframes


def test_no_keyframes_are_no_path_and_standing_still_is_one(start):
    with pytest.raises(ValueError, match="no keyframes"):
        drawing.path_cameras(Drawn(), start, FRAMES, UNIT)
    still = drawing.with_view(Drawn(), start.c2w)
    cameras = drawing.path_cameras(still, start, FRAMES, UNIT)
    torch.testing.assert_close(cameras.c2w, start.c2w.expand(FRAMES, 4, 4), atol=1e-6, rtol=0)


def test_a_path_file_comes_back_and_is_what_rollouts_read(start, tmp_path):
    from anchorweave.run_config import RolloutConfig, RunConfig
    from inference.runs.path import planned_cameras

    drawn = drawing.with_words(Drawn(), "orbit(degrees=16)", start, FRAMES, UNIT)
    cameras = drawing.path_cameras(drawn, start, FRAMES, UNIT)
    file = save_path(tmp_path, "round", cameras, fps=8)
    assert saved_paths(tmp_path) == ["round"]
    config = RunConfig(
        frames=FRAMES,
        rollout=RolloutConfig(trajectory=str(file), segments=1, unit="recording"),
    )
    walked = planned_cameras(config, start, UNIT)
    torch.testing.assert_close(walked.c2w, cameras.c2w, atol=1e-5, rtol=0)
    again = drawing.with_cameras(Drawn(), load_path(tmp_path, "round"), start, 1.0)
    torch.testing.assert_close(
        start.c2w.new_tensor(again.keyframes[-1]), cameras.c2w[-1], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("name", ["../outside", "a/b", "", ".hidden", "x" * 65, "/etc/passwd"])
def test_a_name_from_the_page_leads_nowhere_else(start, tmp_path, name):
    cameras = look([[0.0, 0, 0]] * 2, [0.0, 0.1])
    for use in (
        lambda: save_path(tmp_path / "out", name, cameras, 8),
        lambda: load_path(tmp_path / "out", name),
    ):
        with pytest.raises(ValueError, match="is not a valid file name"):
            use()
    assert not list(tmp_path.iterdir())


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "out" / "paths").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("1\n")
    (tmp_path / "out" / "paths" / "in.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ValueError, match="is outside"):
        load_path(tmp_path / "out", "in")
    with pytest.raises(ValueError, match="is outside"):
        take_upload(tmp_path / "out", "in.txt", b"2\n")
    assert (tmp_path / "secret.txt").read_text() == "1\n"


def test_an_upload_is_kept_only_where_it_is_a_camera_file(tmp_path):
    cameras = look([[0.0, 0, 0]] * 3, [0.0, 0.1, 0.2])
    good = save_path(tmp_path / "one", "a", cameras, 8).read_bytes()
    assert take_upload(tmp_path / "two", "walk-1.txt", good) == "walk-1"
    assert len(load_path(tmp_path / "two", "walk-1")) == 3
    with pytest.raises(ValueError):
        take_upload(tmp_path / "two", "bad.txt", b"no cameras\n")
    assert saved_paths(tmp_path / "two") == ["walk-1"]

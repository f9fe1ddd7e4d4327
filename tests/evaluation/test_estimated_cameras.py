"""Cameras of an analytic room come back from its pixels; still and turning cameras do not."""

import sys
from importlib.util import find_spec

import pytest
import torch

from anchorweave.evaluation import estimated_cameras
from anchorweave.evaluation.camera_error import camera_error, path_length, rotation_kept
from anchorweave.evaluation.camera_estimate import EstimationConfig
from anchorweave.evaluation.estimated_cameras import MissingPycolmapError, estimate_cameras
from anchorweave.geometry.projection import unproject
from tests.rooms import look, view_room

FRAMES, SIZE = 7, (64, 96)
CONFIG = EstimationConfig()


def filmed(positions, yaws):
    """A room whose walls show waves of many directions and lengths, so that no place is another."""
    cameras = look(positions, yaws, SIZE, focal=72.0)
    points = unproject(view_room(cameras).depth, cameras).double()
    draw = torch.Generator().manual_seed(0)
    waves = 9 * torch.randn(3, 3, 24, generator=draw, dtype=torch.float64)
    phases = 6.3 * torch.rand(3, 24, generator=draw, dtype=torch.float64)
    colours = torch.stack(
        [(points @ w + p).sin().sum(dim=-1) for w, p in zip(waves, phases, strict=True)], dim=1
    )
    return (0.5 + colours / 16).clamp(0, 1).float(), cameras


def walk():
    steps = torch.linspace(-1, 1, FRAMES)
    places = torch.stack([0.8 * steps, 0.2 * steps.square(), 0.3 * steps - 1.5], dim=-1)
    return filmed(places, 0.3 * steps)


def neighbours(cameras):
    R = cameras.c2w[:, :3, :3]
    return R[:-1].mT @ R[1:]


def test_without_pycolmap_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(MissingPycolmapError, match="pip install -r requirements.txt"):
        estimate_cameras(*walk(), CONFIG)


class TestWithPycolmap:
    @pytest.fixture(autouse=True)
    def needs_pycolmap(self):
        # Not imported: beside what other tests load it loses images, or the process.
        if find_spec("pycolmap") is None:
            pytest.skip("no pycolmap")

    def test_a_walk_comes_back_and_the_same_again(self):
        video, cameras = walk()
        found = estimate_cameras(video, cameras, CONFIG)
        assert found.registered.all() and found.turned.all() and not found.failed(CONFIG)
        error = camera_error(found.c2w, cameras.c2w, path_length(cameras.c2w))
        assert error.rotation < 1 and error.translation_share < 0.02
        # Two frames alone hardly tell a step aside from a turn.
        assert 0.9 < rotation_kept(found.turns, neighbours(cameras)) < 1.5
        again = estimate_cameras(video, cameras, CONFIG)
        assert torch.equal(again.c2w, found.c2w) and torch.equal(again.turns, found.turns)

    def test_other_intrinsics_give_other_cameras(self):
        video, cameras = walk()
        K = cameras.K.clone()
        # Frames of a zoom have an intrinsic matrix each.
        K[FRAMES // 2 :, :2, :2] *= 1.3
        wrong = type(cameras)(cameras.c2w, K, cameras.size)
        found = estimate_cameras(video, wrong, CONFIG)
        there, true = found.registered, cameras.c2w
        error = camera_error(found.c2w[there], true[there], path_length(true))
        assert error.translation_share > 0.02

    def test_a_frozen_video_fails_and_has_kept_no_rotation(self):
        video, cameras = walk()
        found = estimate_cameras(video[:1].expand_as(video), cameras, CONFIG)
        assert found.failed(CONFIG) and not found.turns_failed(CONFIG)
        assert rotation_kept(found.turns, neighbours(cameras)) < 0.01

    def test_a_turn_on_the_spot_is_known_by_its_turns(self):
        steps = torch.linspace(-1, 1, FRAMES)
        video, cameras = filmed([[0.0, 0.0, -1.5]] * FRAMES, 0.4 * steps)
        found = estimate_cameras(video, cameras, CONFIG)
        spot = found.on_the_spot()
        assert spot.registered.all()
        assert camera_error(spot.c2w, cameras.c2w, path_length(cameras.c2w)).rotation < 1.5
        assert rotation_kept(found.turns, neighbours(cameras)) == pytest.approx(1, abs=0.15)

    def test_frames_that_show_nothing_fail(self):
        video, cameras = walk()
        found = estimate_cameras(torch.full_like(video, 0.5), cameras, CONFIG)
        assert found.failed(CONFIG) and found.turns_failed(CONFIG)
        assert not found.registered.any()

    @pytest.mark.parametrize(
        ("script", "says"),
        [
            ("found.write_text('{\"read\": 0}')", "read 0 of the 7 frames"),
            ("sys.exit('no space left')", "ended with 1:\nno space left"),
        ],
    )
    def test_what_fails_there_is_no_fault_of_the_video(self, tmp_path, monkeypatch, script, says):
        worker = tmp_path / "worker.py"
        found = "found = pathlib.Path(sys.argv[1], 'found.json')"
        worker.write_text(f"import pathlib, sys\n{found}\n{script}\n")
        monkeypatch.setattr(estimated_cameras, "WORKER", worker)
        with pytest.raises(RuntimeError, match=says):
            estimate_cameras(*walk(), CONFIG)

    def test_cameras_of_another_video_are_refused(self):
        video, cameras = walk()
        with pytest.raises(ValueError, match="video of 6 frames .* 7 cameras"):
            estimate_cameras(video[1:], cameras, CONFIG)

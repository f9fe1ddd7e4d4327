"""Cameras of plain footage come back; what cannot come back is refused with the reason."""

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from anchorweave.evaluation.camera_error import camera_error, path_length
from anchorweave.images import write_frame
from anchorweave.recordings import RecordingConfig, open_recording
from anchorweave.recordings.reconstruction import (
    NotReconstructedError,
    ReconstructionConfig,
    reconstruct,
)
from anchorweave.recordings.reconstruction.footage import open_footage
from anchorweave.video import write_video
from tests.evaluation.test_estimated_cameras import SIZE, filmed

FOX = Path(__file__).parents[4] / "shared" / "data" / "fox"
FRAMES = 9
FOCAL = 72.0
KNOWN = RecordingConfig(intrinsics=(FOCAL, FOCAL, SIZE[1] / 2, SIZE[0] / 2))
needs_pycolmap = pytest.mark.skipif(find_spec("pycolmap") is None, reason="no pycolmap")


def walk():
    steps = torch.linspace(-1, 1, FRAMES)
    places = torch.stack([0.8 * steps, 0.2 * steps.square(), 0.3 * steps - 1.5], dim=-1)
    return filmed(places, 0.3 * steps)


def photographs(folder, frames):
    folder.mkdir()
    for i, frame in enumerate(frames):
        write_frame(frame, folder / f"view {i}.png")
    return folder


def worst(recording, cameras, at):
    error = camera_error(recording.cameras.c2w, cameras.c2w[at], path_length(cameras.c2w[at]))
    return error.rotation, error.translation_share


@needs_pycolmap
class TestWithPycolmap:
    def test_photographs_of_a_room_get_their_cameras(self, tmp_path):
        video, cameras = walk()
        folder = photographs(tmp_path / "photographs", video)
        report = reconstruct(folder, tmp_path / "made", ReconstructionConfig(), KNOWN)
        assert (report.registered, report.frames) == (FRAMES, FRAMES)
        assert report.error < 1 and report.points > 100
        assert f"registered {FRAMES} of {FRAMES} frames" in report.lines()[0]
        recording = open_recording(tmp_path / "made")
        assert recording.names[0] == "view 0.jpg" and recording.cameras.size == SIZE
        rotation, share = worst(recording, cameras, list(range(FRAMES)))
        assert rotation < 1 and share < 0.02
        K = recording.cameras.K[0]
        assert torch.allclose(K[[0, 1], [0, 1]], torch.tensor(FOCAL), rtol=1e-3)
        # The first camera is the origin, and the median point lies 3 units away.
        assert torch.allclose(recording.cameras.c2w[0], torch.eye(4), atol=1e-4)
        sparse = recording.clip(range(FRAMES)).sparse
        assert 2 < sparse[sparse > 0].median() < 4.5
        assert json.loads((tmp_path / "made" / "reconstruction.json").read_text())["points"] > 100

    @pytest.mark.parametrize(
        ("options", "model"),
        [
            ({"mapper": "global"}, "PINHOLE"),
            ({"exhaustive": 0, "overlap": 2, "loops": 2}, "PINHOLE"),
            ({"lens": "none"}, "SIMPLE_PINHOLE"),
            ({"lens": "opencv"}, "OPENCV"),
        ],
    )
    def test_every_way_finds_the_cameras(self, tmp_path, options, model):
        video, cameras = walk()
        folder = photographs(tmp_path / "photographs", video)
        # The true field of view is 67.4 degrees; here it is a start. A lens is traded against it.
        known = RecordingConfig(field_of_view=64.0) if "lens" in options else KNOWN
        report = reconstruct(folder, tmp_path / "made", ReconstructionConfig(**options), known)
        assert report.registered == FRAMES and report.camera[0] == model
        rotation, share = worst(open_recording(tmp_path / "made"), cameras, list(range(FRAMES)))
        assert rotation < 1.5 and share < 0.05
        assert report.camera[1][0] == pytest.approx(FOCAL, rel=0.1)

    @pytest.mark.parametrize("between", ["register", "interpolate"])
    def test_frames_between_keyframes_of_a_video(self, tmp_path, between):
        video, cameras = walk()
        write_video(tmp_path / "walk.mp4", video, 8)
        config = ReconstructionConfig(motion=0.15, between=between)
        report = reconstruct(tmp_path / "walk.mp4", tmp_path / "made", config, KNOWN)
        assert 3 <= report.keyframes < FRAMES and report.registered == FRAMES
        recording = open_recording(tmp_path / "made")
        assert recording.names == tuple(f"{i:06d}.jpg" for i in range(FRAMES))
        rotation, share = worst(recording, cameras, list(range(FRAMES)))
        assert rotation < 1.5 and share < 0.04
        seen = [len(recording.sparse_points(i)) > 0 for i in range(FRAMES)]
        assert all(seen) == (between == "register")

    def test_frames_between_keyframes_may_be_dropped(self, tmp_path):
        folder = photographs(tmp_path / "photographs", walk()[0])
        config = ReconstructionConfig(motion=0.15, between="drop")
        report = reconstruct(folder, tmp_path / "made", config, KNOWN)
        assert report.registered == report.keyframes < FRAMES == report.frames
        assert len(open_recording(tmp_path / "made")) == report.keyframes
        assert any("left out: view" in line for line in report.lines())
        assert len(list((tmp_path / "made" / "images").iterdir())) == report.keyframes

    def test_a_turn_on_the_spot_is_recognised(self, tmp_path):
        steps = torch.linspace(-1, 1, 6)
        video, _ = filmed(torch.zeros(6, 3), 0.3 * steps)
        folder = photographs(tmp_path / "turn", video)
        with pytest.raises(
            NotReconstructedError, match="registered.*only rotates in place.*sideways"
        ):
            reconstruct(folder, tmp_path / "made", ReconstructionConfig(), KNOWN)
        assert [one.name for one in tmp_path.iterdir()] == ["turn"]

    def test_a_camera_that_stands_still_is_recognised(self, tmp_path):
        video, _ = walk()
        folder = photographs(tmp_path / "still", video[:1].expand(4, -1, -1, -1))
        with pytest.raises(NotReconstructedError, match="is static"):
            reconstruct(folder, tmp_path / "made", ReconstructionConfig(), KNOWN)

    def test_blank_frames_are_named(self, tmp_path):
        folder = photographs(tmp_path / "blank", torch.rand(4, 3, 1, 1).expand(4, 3, *SIZE))
        with pytest.raises(NotReconstructedError, match="only 0 of 4.*fewer than 1 features"):
            reconstruct(folder, tmp_path / "made", ReconstructionConfig(), RecordingConfig())

    @pytest.mark.skipif(not FOX.is_dir(), reason="the fox recording is not at hand")
    def test_the_fox_without_its_poses(self, tmp_path):
        # The first 16 photographs, at half their size: a quarter of a minute of two cores.
        given = open_recording(FOX, missing="skip")
        folder = tmp_path / "photographs"
        folder.mkdir()
        for file in given.images[:16]:
            shutil.copy(file, folder)
        config = ReconstructionConfig(longer_side=480, feature_side=480)
        report = reconstruct(folder, tmp_path / "made", config, RecordingConfig())
        assert report.registered == 16 and report.error < 1
        rotation, share = worst(open_recording(tmp_path / "made"), given.cameras, list(range(16)))
        assert rotation < 2 and share < 0.05


def test_what_is_wrong_with_footage_is_said(tmp_path, monkeypatch):
    def made(source, **how):
        return reconstruct(
            source, tmp_path / "made", ReconstructionConfig(), RecordingConfig(**how)
        )

    folder = photographs(tmp_path / "few", torch.rand(2, 3, 8, 8))
    with pytest.raises(FileExistsError, match="few: exists"):
        reconstruct(folder, folder, ReconstructionConfig(), RecordingConfig())
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(ValueError, match="pip install -r requirements.txt"):
        made(folder)
    with pytest.raises(ValueError, match="2 frames are too few"):
        open_footage(folder, None)
    write_frame(torch.rand(3, 6, 8), folder / "view 9.png")
    with pytest.raises(ValueError, match="several sizes.*view 9.png 6x8, view 0.png 8x8"):
        open_footage(folder, None)
    with pytest.raises(ValueError, match="neither a video.*nor a folder of photographs"):
        open_footage(folder / "view 0.png", None)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_footage(tmp_path / "nowhere", None)
    with pytest.raises(ValueError, match="field_of_view=180.0"):
        RecordingConfig(field_of_view=180.0)
    with pytest.raises(ValueError, match="keyframes must be at least 3"):
        ReconstructionConfig(keyframes=2)


def test_a_video_gives_so_many_frames_a_second(tmp_path):
    write_video(tmp_path / "a.mp4", torch.zeros(24, 3, 16, 16), 24)
    taken = open_footage(tmp_path / "a.mp4", 8.0)
    assert taken.positions == (0, 3, 6, 9, 12, 15, 18, 21) and taken.names[1] == "000003"
    assert len(open_footage(tmp_path / "a.mp4", None)) == 24
    assert len(open_footage(tmp_path / "a.mp4", 60.0)) == 24
    with pytest.raises(ValueError, match="2 frames are too few.*reconstruction.fps= higher"):
        open_footage(tmp_path / "a.mp4", 2.0)


def test_photographs_go_by_their_numbers_and_shrink(tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    for name in ("v10", "v9", "v1"):
        write_frame(torch.full((3, 20, 40), float(name == "v9")), folder / f"{name}.png")
    footage = open_footage(folder, 8.0)
    assert footage.names == ("v1", "v9", "v10") and footage.focal_share() is None
    frames = list(footage.frames(20))
    assert [tuple(frame.shape) for frame in frames] == [(3, 10, 20)] * 3
    assert [float(frame.mean()) for frame in frames] == [0, 1, 0]

import json
import threading
from dataclasses import replace

import pytest
import torch

import inference.explorer.generating as generating
from anchorweave.anchors import Retrieved
from anchorweave.config import load_config
from anchorweave.geometry.point_cloud import load_ply
from anchorweave.geometry.projection import project
from anchorweave.geometry.selection import Box
from anchorweave.memory import MEMORIES, Bank, LocalClouds
from anchorweave.memory.edits import Remove
from anchorweave.recordings import open_recording, write_recording
from anchorweave.video import read_video
from inference.explorer import drawing, exporting, sight
from inference.explorer.config import ExploreConfig
from inference.explorer.editing import edit
from inference.explorer.live import look, picture, told
from inference.explorer.networks import Networks
from inference.explorer.session import Session
from tests.alike import alike_pictures
from tests.rooms import look as cameras_at
from tests.rooms import view_room, walk

SIZE, FRAMES = (24, 32), 5


def true_depth(kind, config):
    """Perception that knows the room."""
    return lambda clip, known=None: replace(clip, depth=view_room(clip.cameras).depth)


class Painter(Networks):
    """Stands for the networks: paints the room, step by step, and waits where it is told to."""

    def __init__(self):
        self.steps, self.gate = [], threading.Event()
        self.gate.set()

    def get(self):
        return None, "a painter"

    def generator(self, prompt, on_step):
        def generate(first, retrieved: Retrieved, seed):
            for step in (1, 2, 3):
                self.gate.wait(30)
                self.steps.append(step)
                on_step(step)
            shade = 0.2 + 0.1 * seed
            frames = torch.full((len(retrieved.target2first), *first.shape), shade)
            frames[0] = first
            return frames

        return generate


@pytest.fixture
def painter(monkeypatch):
    monkeypatch.setattr(generating, "make_perception", true_depth)
    return Painter()


def drawn(session, steps=4.0):
    view = session.start.c2w.clone()
    view[:3, 3] += steps * drawing.MOVE_STEP * session.state.unit * view[:3, 2]
    session.draw(lambda path, start: drawing.with_view(path, view))


def generated(session, painter, seed=0):
    generating.generate(session, painter, seed).wait(60.0)


def accepted(session):
    generating.accept(session).wait(60.0)


def told_at_end(session):
    said = []
    session.ended.append(said.append)
    return said


@pytest.mark.parametrize("kind", MEMORIES)
def test_live_picks_are_those_of_the_memory(opened, kind):
    session = opened(f"memory={kind}")
    for i in (0, 3, 5):
        view = session.view(session.bank.cameras.c2w[i])
        looked = session.look(view)
        asked = session.opened().retrieve(view)
        assert looked.retrieved.report == asked.report
        assert alike_pictures(looked.retrieved.anchors.video, asked.anchors.video)
        assert picture(looked).ndim == 3
        for pick in looked.report.picks:
            assert f"{pick.memory}: {pick.name}" in told(looked)


def test_a_segment_is_generated_accepted_and_reverted(opened, painter, tmp_path):
    session = opened()
    before = (tmp_path / "bank" / "transforms.json").read_bytes()
    drawn(session)
    path = session.path()
    generated(session, painter, seed=2)
    assert session.state.pending == 0 and len(session.bank) == 6
    folder = tmp_path / "out" / "segments" / "0000"
    assert len(read_video(folder / "video.mp4")) == FRAMES
    chunks = json.loads((folder / "selection.json").read_text())
    assert chunks[0]["target_frames"][0] == "room 5"
    asked = session.retrieve(session.memory, path)
    assert [p["memory"] for p in chunks[0]["picks"]] == [p.memory for p in asked.report[0].picks]
    accepted(session)
    assert session.state.pending is None and session.state.current == 1
    grown = Bank(tmp_path / "out" / "memories" / "0001")
    assert len(grown) == len(session.bank) == 6 + FRAMES - 1
    assert grown.names[-1] == "segment 0, frame 4"
    torch.testing.assert_close(grown.cameras.c2w[6:], path.c2w[1:], atol=1e-6, rtol=0)
    # The sum that the bank keeps says that it is the very picture that was generated.
    assert alike_pictures(grown.frame(7), torch.full((3, *SIZE), round(0.4 * 255) / 255))
    assert not session.state.drawn.keyframes
    # What the exploration began with is as it was.
    assert (tmp_path / "bank" / "transforms.json").read_bytes() == before
    session.revert()
    assert len(session.bank) == 6 and len(session.state.drawn.keyframes) == 1
    session.go_to(1)
    assert len(session.bank) == 10


def test_a_path_of_two_segments_has_a_prompt_for_each(opened, painter):
    session = opened("sampling.prompt=a room")
    drawn(session, 4)
    drawn(session, 8)
    assert session.segments() == 2
    session.keep(
        replace(session.state, drawn=replace(session.state.drawn, prompts=(None, "a hall")))
    )
    whole = session.path()
    generated(session, painter)
    accepted(session)
    assert session.segments() == 1 and session.state.segments[0].prompt == "a room"
    # Straight on: the rest of the path is the rest of the cameras.
    torch.testing.assert_close(session.path().c2w, whole.c2w[4:], atol=1e-5, rtol=0)
    generated(session, painter, seed=1)
    assert session.state.segments[1].prompt == "a hall"
    accepted(session)
    video = exporting.export_video(session)
    assert len(read_video(video)) == 1 + 2 * (FRAMES - 1)


def test_a_generation_is_cancelled_and_everything_is_as_it_was(opened, painter):
    session = opened()
    drawn(session)
    before, said = session.state, told_at_end(session)
    painter.gate.clear()
    job = generating.generate(session, painter, 0)
    for refused in (
        lambda: generating.generate(session, painter, 0),
        lambda: drawn(session),
        session.undo,
        session.revert,
        lambda: session.look_through("global_cloud"),
    ):
        with pytest.raises(ValueError, match="wait until it is done, or cancel"):
            refused()
    # One still looks around.
    assert session.look(session.view(session.start.c2w)).report.picks
    job.cancel()
    painter.gate.set()
    job.wait(60.0)
    assert said == ["cancelled; memory and path are unchanged"]
    assert session.state == before and painter.steps == [1]
    generated(session, painter)
    assert session.state.pending == 0


def test_what_waits_is_there_when_it_is_opened_again(opened, painter):
    session = opened()
    drawn(session)
    generated(session, painter, seed=1)
    again = opened()
    assert again.state == session.state and again.state.pending == 0
    accepted(again)
    assert opened().state == again.state and len(opened().bank) == 10


def test_one_that_was_killed_while_remembering_goes_on(opened, painter, monkeypatch, tmp_path):
    session = opened()
    drawn(session)
    generated(session, painter)
    killed = tmp_path / "out" / "memories" / "0001"
    generating.fork_bank(session.bank, killed)
    again = opened()
    assert not killed.exists() and again.state.pending == 0
    accepted(again)
    assert len(again.bank) == 10


def test_a_failure_while_remembering_leaves_all_as_it_was(opened, painter, monkeypatch, tmp_path):
    session = opened()
    drawn(session)
    generated(session, painter)
    before, said = session.state, told_at_end(session)

    def broken(kind, config):
        raise ValueError("no depth today")

    monkeypatch.setattr(generating, "make_perception", broken)
    accepted(session)
    assert said == ["no depth today"] and session.state == before
    assert not (tmp_path / "out" / "memories" / "0001").exists()


def test_a_keyframe_that_is_moved_ends_in_the_state_and_in_the_path(opened):
    session = opened()
    drawn(session)
    session.choose(0)
    view = session.start.c2w.clone()
    view[:3, 3] += 0.2 * view[:3, 0]
    session.draw(lambda path, start: drawing.with_keyframe(path, 0, view))
    assert opened().state == session.state and session.state.keyframe == 0
    assert torch.equal(session.path().c2w[-1], view)
    back = session.start.c2w.clone()
    back[:3, 0], back[:3, 2] = -back[:3, 0], -back[:3, 2]
    before = session.state
    with pytest.raises(ValueError, match="half a turn apart"):
        session.draw(lambda path, start: drawing.with_keyframe(path, 0, back))
    assert session.state == before and session.problem() is None
    session.draw(lambda path, start: drawing.without_keyframe(path, 0))
    assert opened().state.keyframe is None and not session.state.drawn.keyframes


def test_a_path_whose_beginning_changed_says_what_the_matter_is(opened, tmp_path):
    session = opened()
    drawn(session)
    first = session.bank.cameras[-1]
    # Another process goes on with a camera that looks the other way.
    around = replace(first, c2w=first.c2w.clone()[None], K=first.K[None])
    around.c2w[:, :3, 0], around.c2w[:, :3, 2] = -first.c2w[:3, 0], -first.c2w[:3, 2]
    LocalClouds(Bank(tmp_path / "bank")).update(view_room(around))
    assert session.follow() == 1 and "half a turn apart" in session.problem()
    session.draw(lambda path, start: drawing.with_keyframe(path, 0, session.start.c2w))
    assert session.problem() is None


def test_of_many_memories_those_are_asked_that_look_there(opened):
    session = opened()
    views = session.views()
    random = torch.Generator().manual_seed(0)
    origin = 0.5 * torch.randn(3, generator=random)
    rays = torch.nn.functional.normalize(torch.randn(200, 3, generator=random), dim=-1)
    asked = sight._meets(views.cameras, origin, rays)
    height, width = views.cameras.size
    along = origin + torch.linspace(0.01, 8, 800)[:, None, None] * rays
    at, z = project(along.reshape(-1, 3), views.cameras)
    inside = (z > 0) & (at >= 0).all(-1) & (at[..., 0] < width) & (at[..., 1] < height)
    seen = inside.view(len(views), 800, 200).any(dim=1).mT
    assert not (seen & ~asked).any() and 0.1 < seen.float().mean() < 0.9
    # Rays that only touch what a camera sees, between two of the points, or farther away.
    assert (asked & ~seen).float().mean() < 0.1


def test_who_has_seen_a_place(opened):
    session = opened()
    camera = session.bank.cameras[2]
    found = session.look_along(camera.centres, torch.stack([camera.c2w[:3, 2], -camera.c2w[:3, 2]]))
    assert found.met.tolist() == [True, False]
    assert found.seen_by[0, 2]
    # The room's own wall, to the tolerance of coarse depth.
    depth = session.bank.depth(2)[12, 16]
    way = (found.points[0] - camera.centres).norm()
    assert abs(way - depth) < 0.03 * depth
    assert found.points[1].isnan().all()


def test_a_bank_that_another_process_grows(opened, tmp_path, painter):
    session = opened()
    assert session.follow() == 0
    more = view_room(cameras_at([[0.5, 0.2, 0.5]], [0.9], SIZE))
    LocalClouds(Bank(tmp_path / "bank")).update(more)
    assert session.follow() == 1 and len(session.bank) == 7
    drawn(session)
    generated(session, painter)
    accepted(session)
    LocalClouds(Bank(tmp_path / "bank")).update(more)
    # A branch stays what it was begun from; the memory it began with has the new frame.
    assert session.follow() == 0 and len(session.bank) == 11
    session.go_to(0)
    assert len(session.bank) == 8


@pytest.mark.parametrize("kind", MEMORIES)
def test_an_empty_memory(opened, painter, tmp_path, kind):
    session = opened(f"memory.path={tmp_path / 'none'}", f"memory={kind}")
    assert len(session.bank) == 0 and session.segments() == 0 and len(session.views()) == 0
    for refused in (
        lambda: drawn(session),
        session.path,
        lambda: generating.generate(session, painter, 0),
        lambda: edit(session, Remove(box=Box((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))),
        lambda: exporting.export_points(session),
        lambda: exporting.export_nerfstudio(session),
    ):
        with pytest.raises(ValueError, match="empty"):
            refused()
    LocalClouds(Bank(tmp_path / "none")).update(walk(3, SIZE))
    assert session.follow() == 3 and len(session.bank) == 3


def test_it_begins_with_a_recording(tmp_path):
    write_recording(walk(7, SIZE), tmp_path / "room")
    (tmp_path / "room" / "caption.txt").write_text("a small room\n")
    words = [f"source={tmp_path / 'room'}", f"output={tmp_path / 'out'}", f"size={list(SIZE)}"]
    session = Session(load_config(ExploreConfig, [*words, "every=3"]))
    assert len(session.bank) == 3 and session.prompt == "a small room"
    again = Session(load_config(ExploreConfig, [*words, "every=3"]))
    assert again.state == session.state and again.prompt == "a small room"
    through = Session(load_config(ExploreConfig, [*words, "memory=posed_frames"]))
    assert through.state.kind == "posed_frames" and len(through.bank) == 3


def test_another_memory_wants_another_output(opened, tmp_path):
    opened()
    with pytest.raises(ValueError, match="set another output="):
        opened(f"memory.path={tmp_path / 'other'}")


def test_exports_are_read_back(opened):
    session = opened()
    cloud = load_ply(exporting.export_points(session))
    assert len(cloud) > 100
    bank = session.bank
    for export in (
        exporting.export_nerfstudio,
        exporting.export_colmap,
        exporting.export_nerfstudio,
    ):
        recording = open_recording(export(session))
        assert len(recording) == len(bank)
        torch.testing.assert_close(recording.cameras.c2w, bank.cameras.c2w, atol=1e-5, rtol=0)
        torch.testing.assert_close(recording.cameras.K, bank.cameras.K)
        assert torch.equal(recording.frame(3), bank.frame(3))
    with pytest.raises(ValueError, match="no segment was accepted"):
        exporting.export_video(session)


def test_quaternions_turn_back_into_rotations():
    from anchorweave.geometry.cameras import rotation_angle
    from anchorweave.geometry.selection import rotation

    for axis, degrees in (((0, 1, 0), 30), ((1, 2, 3), 179.9), ((1, 0, 0), 180), ((0, 0, 1), 0)):
        matrix = rotation(tuple(map(float, axis)), float(degrees)).double()
        w, x, y, z = exporting.quaternion(matrix)
        back = torch.tensor(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ],
            dtype=torch.float64,
        )
        # The rotation itself is of float32.
        assert rotation_angle(matrix, back) < 1e-5


def test_look_is_timed(opened):
    session = opened()
    looked = look(session.memory, session.view(session.start.c2w))
    assert 0 < looked.seconds and 0 < looked.coverage <= 1

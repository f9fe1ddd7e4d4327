import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from anchorweave.geometry.selection import Box
from anchorweave.memory import MEMORIES
from anchorweave.memory.edited_frames import EditedFrames
from anchorweave.memory.edits import Move, Recolour, Remove
from inference.explorer.editing import box_around, edit

ROOT = Path(__file__).parents[3]
WALL = Box((0.0, 0.0, 3.0), (2.0, 2.0, 0.5))


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_box_is_removed_in_every_system_and_had_back(opened, kind):
    session = opened(f"memory={kind}", "memory.map_and_keyframes.splat_radius=0")
    seen, view = session.bank.frame(5), session.view(session.bank.cameras.c2w[5])
    before = session.look(view).retrieved
    edit(session, Remove(box=Box((0.0, 0.0, 3.0), (2.0, 2.0, 0.5)))).wait(60.0)
    assert session.state.version.made == "edit"
    assert session.state.version.about.startswith("remove: ")
    gone = (session.bank.frame(5) - seen).abs().amax(dim=0) > 0.02
    assert gone.any() and not gone.all()
    after = session.look(view).retrieved
    if session.memory.keeps_geometry:
        shown = [one.anchors.visible[0, 0][gone].float().mean() for one in (before, after)]
        # Beside the hole lie voxels that reach into it.
        assert shown[0] - shown[1] > 0.3
    else:
        assert torch.equal(after.references.frames[-1], session.bank.frame(5))
    session.revert()
    torch.testing.assert_close(session.bank.frame(5), seen)


def test_recolouring_and_moving(opened):
    session = opened()
    wall = Box((0.0, 0.0, 3.0), (2.0, 2.0, 0.5))
    edit(session, Recolour(box=wall, colour=(1.0, 0.0, 0.0))).wait(60.0)
    red = (session.bank.frame(5)[0] == 1) & (session.bank.frame(5)[1:] == 0).all(dim=0)
    assert red.any()
    edit(session, Move(box=wall, translation=(0.0, 0.0, -0.5))).wait(60.0)
    assert [version.made for version in session.state.branch] == ["start", "edit", "edit"]
    assert (
        session.bank.depth(5)[red] < session.opened(session.state.go_to(1)).bank.depth(5)[red]
    ).any()


def test_a_rectangle_becomes_a_box_around_what_is_seen_there(opened):
    session = opened()
    camera = session.bank.cameras[5]
    half = 2 * torch.atan(camera.size[0] / 2 / camera.K[1, 1]).item()
    aspect = camera.size[1] / camera.size[0]
    box = box_around(session, camera.c2w, half, aspect, (0.4, 0.4, 0.6, 0.6))
    # What the middle of the frame shows, which was seen by that very frame.
    points = drawing_points(session, 5)[10:14, 13:19].reshape(-1, 3)
    assert box.contains(points).float().mean() > 0.8
    with pytest.raises(ValueError, match="no memory has seen"):
        up = camera.c2w.clone()
        up[:3, 2], up[:3, 1] = -camera.c2w[:3, 1], camera.c2w[:3, 2]
        box_around(session, up, 0.1, 1.0, (0.4, 0.4, 0.6, 0.6))


def drawing_points(session, i):
    from anchorweave.geometry.projection import unproject

    return unproject(session.bank.depth(i), session.bank.cameras[i])


class Halted:
    """Stands for work that takes long: reading the depth of one frame waits until it may go on."""

    def __init__(self, monkeypatch, frame):
        self.reached, self.go_on = threading.Event(), threading.Event()
        clean_depth = EditedFrames.clean_depth

        def waits(frames, i, edge):
            if i == frame:
                self.reached.set()
                assert self.go_on.wait(30)
            return clean_depth(frames, i, edge)

        monkeypatch.setattr(EditedFrames, "clean_depth", waits)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (Remove(box=WALL), "editing (remove): looking behind what was removed, 3 of 6"),
        (Move(box=WALL, translation=(0.0, 0.0, -0.5)), "editing (move): selecting, 5 of 6"),
    ],
)
def test_a_long_edit_is_cancelled(opened, monkeypatch, tmp_path, what, said):
    session, halted, ended = opened(), Halted(monkeypatch, 3), []
    session.ended.append(ended.append)
    before, seen = session.state, session.bank.frame(5)
    job = edit(session, what)
    assert halted.reached.wait(30)
    assert job.progress.what == said and 0 < job.progress.share < 0.9
    with pytest.raises(ValueError, match="wait until it is done, or cancel"):
        edit(session, what)
    job.cancel()
    halted.go_on.set()
    job.wait(60.0)
    assert ended == ["cancelled; memory and path are unchanged"]
    assert session.state == before and torch.equal(session.bank.frame(5), seen)
    assert not list((tmp_path / "out").glob("memories/*")) and opened().state == before
    edit(session, what).wait(60.0)
    assert session.state.current == 1 and not torch.equal(session.bank.frame(5), seen)


KILLED = """
import os, signal, sys
from anchorweave.config import load_config
from anchorweave.geometry.selection import Box
from anchorweave.memory.edited_frames import EditedFrames
from anchorweave.memory.edits import Remove
from inference.explorer.config import ExploreConfig
from inference.explorer.editing import edit
from inference.explorer.session import Session

session, write = Session(load_config(ExploreConfig, sys.argv[1:])), EditedFrames.write

def killed(frames, path):
    write(frames, path)
    os.kill(os.getpid(), signal.SIGKILL)

EditedFrames.write = killed
edit(session, Remove(box=Box((0.0, 0.0, 3.0), (2.0, 2.0, 0.5)))).wait()
"""


def test_one_that_is_killed_at_an_edit_finds_all_as_it_was(opened, words, tmp_path):
    session = opened()
    before, seen = session.state, session.bank.frame(5)
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    # It had written its frames, and nobody had named them.
    assert list((tmp_path / "out" / "memories").glob(".partial-*"))
    again = opened()
    assert again.state == before and torch.equal(again.bank.frame(5), seen)
    assert not list((tmp_path / "out").glob("memories/*"))
    edit(again, Remove(box=WALL)).wait(60.0)
    assert again.state.current == 1 and not torch.equal(again.bank.frame(5), seen)

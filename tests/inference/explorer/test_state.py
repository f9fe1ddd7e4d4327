import json

import pytest
import torch

from inference.explorer.drawing import pose_of
from inference.explorer.state import Drawn, Explored, load_state, save_state


def pose(x):
    c2w = torch.eye(4)
    c2w[0, 3] = x
    return pose_of(c2w)


def path(*places, **more):
    return Drawn(keyframes=tuple(map(pose, places)), **more)


@pytest.fixture
def begun():
    return Explored("outputs/memory", 2.0, "local_clouds", "local_clouds")


def test_drawing_is_undone_and_done_again(begun):
    one, two = path(1.0), path(1.0, 2.0)
    state = begun.draw(one).draw(two)
    assert state.draw(two) is state
    assert state.undo().drawn == one and state.undo().undo().drawn == Drawn()
    assert state.undo().redo() == state
    assert not state.undo().draw(path(3.0)).future
    for wrong in (begun.undo, begun.redo):
        with pytest.raises(ValueError, match="nothing to"):
            wrong()


def test_undo_keeps_so_many_steps(begun):
    state = begun
    for x in range(150):
        state = state.draw(path(float(x)))
    assert len(state.past) == 100 and state.past[0] == path(49.0)


def test_a_keyframe_is_chosen_until_the_path_has_fewer(begun):
    state = begun.draw(path(1.0, 2.0, 3.0)).choose(1)
    moved = state.draw(path(1.0, 5.0, 3.0))
    assert moved.keyframe == 1 and moved.undo().keyframe == 1
    assert moved.draw(path(1.0, 3.0)).keyframe is None
    assert state.undo().keyframe is None and state.choose(None).keyframe is None
    assert state.go_to(0).keyframe is None
    for wrong in (3, -1):
        with pytest.raises(ValueError, match="there is no keyframe"):
            state.choose(wrong)


def test_a_segment_is_accepted_and_reverted_with_the_path_as_before(begun):
    drawn = path(1.0, 2.0, prompts=("a room",))
    state = begun.draw(drawn).generated("a room", 7, drawn)
    assert state.pending == 0 and state.current == 0
    grown = state.accept(path(2.0))
    assert (grown.current, grown.pending, grown.drawn) == (1, None, path(2.0))
    assert grown.version.segment == 0 and grown.version.parent == 0
    back = grown.revert()
    assert (back.current, back.drawn, len(back.versions)) == (0, drawn, 2)
    # A pending segment is shelved before a version is.
    aside = state.revert()
    assert (aside.current, aside.pending, aside.drawn) == (0, None, drawn)
    assert aside.bring_back(0).pending == 0
    with pytest.raises(ValueError, match="accepted"):
        back.bring_back(0)


def test_branches_are_kept(begun):
    drawn = path(1.0)
    first = begun.draw(drawn).generated("", 0, drawn).accept(Drawn())
    other = first.revert().generated("", 1, drawn).accept(Drawn()).edited("remove: 3 pixels")
    assert [version.number for version in other.branch] == [0, 2, 3]
    assert [version.number for version in other.go_to(1).branch] == [0, 1]
    assert other.revert().current == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda s: s.revert(), "nothing to revert"),
        (lambda s: s.accept(Drawn()), "no segment is pending"),
        (lambda s: s.go_to(1), "no version 1"),
        (lambda s: s.bring_back(0), "no segment 0"),
        (lambda s: s.generated("", 0, Drawn()).edited("remove"), "accept or revert it before"),
    ],
)
def test_what_cannot_be_done_is_refused(begun, wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong(begun)


def test_a_state_comes_back_from_disk_as_it_was(begun, tmp_path):
    drawn = path(1.0, 1 / 3, start=2, speed=0.7, smooth=False, prompts=(None, "a chair"))
    state = begun.draw(path(5.0)).draw(drawn).generated("a chair", 3, drawn).accept(path(9.0))
    state = state.draw(drawn).draw(path(2.0)).undo().choose(1)
    save_state(state, tmp_path)
    assert load_state(tmp_path) == state
    assert load_state(tmp_path / "nowhere") is None
    assert [file.name for file in tmp_path.iterdir()] == ["explorer.json"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: values.pop("versions"),
        lambda values: values.update(current=4),
        lambda values: values.update(explorer_version=99),
        lambda values: values.update(pending=1),
        lambda values: values.update(keyframe=0),
        lambda values: values["drawn"].update(keyframes=[[[1.0]]]),
        lambda values: values.update(more=1),
    ],
)
def test_a_damaged_state_is_named(begun, tmp_path, spoil):
    save_state(begun, tmp_path)
    file = tmp_path / "explorer.json"
    values = json.loads(file.read_text())
    spoil(values)
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"explorer\.json: is not a valid state"):
        load_state(tmp_path)

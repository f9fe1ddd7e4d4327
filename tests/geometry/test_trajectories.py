import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import project
from anchorweave.geometry.trajectories import MOVE_STEP, PRESETS, TURN_STEP, WORDS, trajectory
from tests.alike import alike

# Corner of the paper's free-form path: 8 steps a word.
PAPER = "move_left:8, orient_up:8, move_backward:8, orient_down:8, move_right:8"
SPECS = [*PRESETS, PAPER, "there_and_back(orbit(degrees=90))", "roll_left:3, move_up:2"]
CENTRE = (32.0, 24.0)


def camera(c2w=None, dtype=torch.float64):
    c2w = torch.eye(4) if c2w is None else c2w
    return Cameras(c2w.to(dtype), intrinsics(50.0, 50.0, *CENTRE, dtype=dtype), (48, 64))


@pytest.fixture
def tilted():
    """A float32 camera with nothing round about it."""
    rotation = torch.linalg.matrix_exp(
        torch.tensor([[0.0, -0.3, 0.8], [0.3, 0.0, -0.5], [-0.8, 0.5, 0.0]], dtype=torch.float64)
    )
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3], c2w[:3, 3] = rotation, torch.tensor([0.37, -2.11, 5.03])
    return camera(c2w, torch.float32)


def seen(spec, frames=9, unit=1.0, point=(0.0, 0.0, 1.0)):
    """Image positions [frames, 2] and depths of a point that starts in the image's centre."""
    path = trajectory(spec, camera(), frames, unit)
    position, depth = project(torch.tensor([point], dtype=torch.float64), path)
    return position[:, 0], depth[:, 0]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("frames", [1, 2, 25, 41])
def test_starts_exactly_at_start_and_stays_rigid(spec, frames, tilted):
    path = trajectory(spec, tilted, frames, unit=2.5).validated(spec)
    assert len(path) == frames and path.size == tilted.size
    assert torch.equal(path.c2w[0], tilted.c2w)
    assert torch.equal(path.K, tilted.K.expand(frames, 3, 3))
    rotation = path.c2w[:, :3, :3].double()
    assert (rotation.mT @ rotation - torch.eye(3, dtype=torch.float64)).abs().max() < 1e-6


@pytest.mark.parametrize("spec", SPECS)
def test_is_smooth_and_deterministic(spec, tilted):
    # No frame jumps: every point of a long path is close to the one before.
    path = trajectory(spec, tilted, 201, unit=1.0)
    assert (path.c2w[1:] - path.c2w[:-1]).abs().max() < 0.05
    assert alike(path.c2w, trajectory(spec, tilted, 201, unit=1.0).c2w)


@pytest.mark.parametrize(
    ("word", "axis", "sign"),
    [  # A camera that goes or turns left sees the world go right, and so on; y points down.
        ("move_left", 0, 1),
        ("move_right", 0, -1),
        ("move_up", 1, 1),
        ("move_down", 1, -1),
        ("orient_left", 0, 1),
        ("orient_right", 0, -1),
        ("orient_up", 1, 1),
        ("orient_down", 1, -1),
    ],
)
def test_words_move_what_is_seen(word, axis, sign):
    position, _ = seen(f"{word}:8")
    shift = position - torch.tensor(CENTRE, dtype=torch.float64)
    assert (shift[1:, axis] * sign).min() > 0.5
    assert shift[:, 1 - axis].abs().max() < 1e-9


def test_word_steps_have_their_named_size():
    path = trajectory("move_left:8", camera(), 9, unit=2.0)
    expected = torch.tensor([-8 * MOVE_STEP * 2.0, 0.0, 0.0], dtype=torch.float64)
    assert torch.allclose(path.centres[-1], expected)
    position, _ = seen("orient_right:8")
    angle = torch.atan((CENTRE[0] - position[-1, 0]) / 50.0)
    assert torch.rad2deg(angle).item() == pytest.approx(8 * TURN_STEP)
    wide = trajectory("orient_up:2", camera(), 3, 1.0, turn_step=45.0)
    assert torch.allclose(wide.c2w[-1, :3, 2], torch.tensor([0.0, -1.0, 0.0]).double())
    assert seen("move_forward:8")[1][-1].item() == pytest.approx(1 - 8 * MOVE_STEP)
    assert seen("move_backward:8")[1][-1].item() == pytest.approx(1 + 8 * MOVE_STEP)


def test_roll_turns_the_image_about_its_centre():
    right_of_centre = seen("roll_right:8", point=(0.1, 0.0, 1.0))[0][-1]
    # A camera that rolls clockwise sees the world turn anticlockwise: the right side goes up.
    assert right_of_centre[1] < CENTRE[1] - 0.5
    assert seen("roll_left:8", point=(0.1, 0.0, 1.0))[0][-1][1] > CENTRE[1] + 0.5


def test_words_act_in_the_axes_of_the_moment():
    path = trajectory("orient_right:1, move_forward:1", camera(), 3, 1.0, turn_step=90.0)
    expected = torch.tensor([MOVE_STEP, 0.0, 0.0], dtype=torch.float64)
    assert torch.allclose(path.centres[-1], expected)


def test_words_of_another_length_are_resampled_evenly():
    exact = trajectory(PAPER, camera(), 41, 1.0)
    twice = trajectory(PAPER, camera(), 81, 1.0)
    assert torch.allclose(twice.c2w[::2], exact.c2w, atol=1e-9)
    middle = (exact.centres[0] + exact.centres[1]) / 2
    assert torch.allclose(twice.centres[1], middle, atol=1e-9)


def test_pan_turns_on_the_spot():
    path = trajectory("pan(degrees=40)", camera(), 5, unit=3.0)
    assert path.centres.abs().max() == 0
    position, _ = seen("pan(degrees=40)", frames=5)
    assert torch.rad2deg(torch.atan((CENTRE[0] - position[:, 0]) / 50)) == pytest.approx(
        [0, 10, 20, 30, 40]
    )


def test_dolly_moves_ahead_by_units():
    _, depth = seen("dolly(distance=0.5)", unit=2.0, point=(0.0, 0.0, 4.0))
    assert depth.tolist() == pytest.approx([4 - i / 8 for i in range(9)])
    assert seen("dolly(distance=-0.5)")[1][-1] == pytest.approx(1.5)


def test_orbit_circles_a_point_ahead_to_the_right():
    position, depth = seen("orbit(degrees=90, radius=1.5)", unit=2.0, point=(0.0, 0.0, 3.0))
    assert (position - torch.tensor(CENTRE, dtype=torch.float64)).abs().max() < 1e-9
    assert (depth - 3).abs().max() < 1e-9
    end = trajectory("orbit(degrees=90, radius=1.5)", camera(), 9, unit=2.0).centres[-1]
    assert torch.allclose(end, torch.tensor([3.0, 0.0, 3.0], dtype=torch.float64))


def test_spiral_widens_and_keeps_its_focus_centred():
    spec = "spiral(turns=1, radius=0.2, distance=0.1, focus=1.0)"
    position, _ = seen(spec)
    assert (position - torch.tensor(CENTRE, dtype=torch.float64)).abs().max() < 1e-9
    centres = trajectory(spec, camera(), 9, 1.0).centres
    assert (centres[:, :2].norm(dim=-1).diff() > 0).all()
    assert torch.allclose(centres[-1], torch.tensor([0.2, 0.0, 0.1], dtype=torch.float64))
    assert centres[2, 1] > 0.04  # A quarter turn: below, on its way from right to left.


@pytest.mark.parametrize("frames", [9, 10])
@pytest.mark.parametrize("inner", ["pan(degrees=70)", "spiral", "move_left:3, orient_up:2", PAPER])
def test_there_and_back_returns_over_the_same_poses(inner, frames, tilted):
    path = trajectory(f"there_and_back({inner})", tilted, frames, unit=1.3)
    assert torch.equal(path.c2w, path.c2w.flip(0))
    assert torch.equal(path.c2w[-1], tilted.c2w)
    out = trajectory(inner, tilted, (frames + 1) // 2, unit=1.3)
    assert alike(path.c2w[: len(out)], out.c2w)


def test_unit_scales_translations_only(tilted):
    one, three = (trajectory("orbit", tilted, 9, unit) for unit in (1.0, 3.0))
    assert alike(one.c2w[:, :3, :3], three.c2w[:, :3, :3])
    start = tilted.centres
    assert torch.allclose(3 * (one.centres - start), three.centres - start, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("orbitt", r"did you mean 'orbit'"),
        ("move_lefft:8", r"did you mean 'move_left'"),
        ("move_left:8, orient_upp:8", r"did you mean 'orient_up'"),
        ("move_left", r"write move_left:8"),
        ("move_left:0", r"positive number of steps, got '0'"),
        ("move_left:x, move_up:2", r"positive number of steps, got 'x'"),
        ("move_left:8,", r"unknown word"),
        ("", r"unknown word"),
        ("pan(angle=3)", r"unknown parameter of pan 'angle'.*Known: degrees"),
        ("pan(60)", r"expected name=number"),
        ("pan(degrees=left)", r"'left' where a finite number belongs"),
        ("pan(degrees=nan)", r"'nan' where a finite number belongs"),
        ("pan(degrees=1, degrees=2)", r"given twice"),
        ("static(degrees=1)", r"unknown parameter of static"),
        ("orbit(radius=0)", r"radius must be positive, got 0"),
        ("spiral(radius=-1)", r"radius must be positive, got -1"),
        ("spiral(distance=2)", r"must lie ahead"),
        ("there_and_back", r"has no path inside"),
        ("there_and_back(pann)", r"did you mean 'pan'"),
    ],
)
def test_bad_specs_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        trajectory(spec, camera(), 9, 1.0)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="at least 1 frame, got 0"):
        trajectory("pan", camera(), 0, 1.0)
    for unit in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="unit of a trajectory must be positive"):
            trajectory("pan", camera(), 3, unit)
    with pytest.raises(ValueError, match="turn_step"):
        trajectory("pan", camera(), 3, 1.0, turn_step=-1.0)
    many = Cameras(torch.eye(4).repeat(2, 1, 1), torch.eye(3).repeat(2, 1, 1), (48, 64))
    with pytest.raises(ValueError, match="starts at one camera"):
        trajectory("pan", many, 3, 1.0)


def test_every_word_is_distinct():
    ends = torch.stack([trajectory(f"{w}:1", camera(), 2, 1.0).c2w[-1] for w in WORDS])
    assert len(ends.reshape(len(WORDS), -1).unique(dim=0)) == len(WORDS)

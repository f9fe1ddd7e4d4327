import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import project, unproject
from anchorweave.recordings import open_recording, procedural_recording
from anchorweave.recordings.procedural_rooms.recording import one_room_each
from anchorweave.recordings.procedural_rooms.room_renderer import room_renderer
from anchorweave.recordings.procedural_rooms.rooms import furnished_room
from anchorweave.recordings.procedural_rooms.walks import CLEARANCE, FRAMES_A_LAP, look_along
from anchorweave.recordings.search import find_recordings
from tests.alike import alike, alike_pictures

SIZE = (48, 64)


@pytest.fixture(scope="module")
def room():
    return procedural_recording(seed=3, size=SIZE, frames=FRAMES_A_LAP)


def agreement(room, a, b):
    """Of the pixels of frame a that land in frame b: relative depth error, and colour error."""
    clip = room.clip([a, b])
    points = unproject(clip.depth[0], clip.cameras[0]).flatten(0, 1)
    position, z = project(points, clip.cameras[1])
    column, row = position.floor().long().unbind(-1)
    inside = (z > 0) & (column >= 0) & (column < SIZE[1]) & (row >= 0) & (row < SIZE[0])
    at = (row[inside], column[inside])
    colour = clip.frames[0].flatten(1)[:, inside] - clip.frames[1][:, at[0], at[1]]
    return (clip.depth[1][at] - z[inside]) / z[inside], colour.abs().mean(0)


@pytest.mark.parametrize(("a", "b"), [(0, 3), (10, 16), (0, 36)])
def test_frames_agree_about_where_things_stand(room, a, b):
    depth, colour = agreement(room, a, b)
    assert len(depth) > 0.3 * SIZE[0] * SIZE[1]
    # What b does not see lies behind what b sees, never in front of it (but for half a pixel).
    assert (depth < 0.05).float().mean() > 0.93
    same = depth.abs() < 0.03
    assert same.float().mean() > 0.6
    # Light is diffuse, so the same point has the same colour, up to sampling.
    assert colour[same].median() < 0.08 and colour[same].mean() < 0.6 * colour[~same].mean()


def test_depth_is_exact_along_the_optical_axis():
    """A camera that looks straight up at the ceiling sees one depth: z, not the ray's length."""
    x, y, z = furnished_room(3).extent
    centre = torch.tensor([[x / 2 + 0.9, y / 2, z - 0.7]])  # beside the lamp
    c2w = look_along(centre, torch.zeros(1), torch.tensor([torch.pi / 2]))
    K = intrinsics(64.0, 64.0, 32.0, 24.0)[None]
    depth = procedural_recording(seed=3, cameras=Cameras(c2w, K, SIZE)).depth(0)
    torch.testing.assert_close(depth, torch.full_like(depth, 0.7), atol=1e-5, rtol=0)


def test_the_same_seed_is_the_same_room_and_another_is_not(room):
    furnished_room.cache_clear()
    room_renderer.cache_clear()
    again = procedural_recording(seed=3, size=SIZE, frames=FRAMES_A_LAP)
    other = procedural_recording(seed=4, size=SIZE, frames=FRAMES_A_LAP)
    assert alike(again.cameras.c2w, room.cameras.c2w)
    assert alike_pictures(again.frame(5), room.frame(5)) and alike_pictures(
        again.depth(5), room.depth(5)
    )
    assert (other.frame(5) - room.frame(5)).abs().mean() > 0.05


@pytest.mark.parametrize("seed", [3, 17])
def test_the_walk_stays_in_the_room_and_clear_of_furniture(seed):
    room = procedural_recording(seed, size=(4, 6), frames=100)
    centres = room.cameras.centres
    assert room.distances(centres.numpy()).min() >= CLEARANCE
    assert (centres > 0).all() and (centres < torch.tensor(room.room.extent)).all()
    steps = (centres[1:] - centres[:-1]).norm(dim=-1)
    assert 0 < steps.min() and steps.max() < 0.15


def test_the_walk_looks_away_and_comes_back(room):
    forward = room.cameras.c2w[:, :3, 2]
    same_way = forward @ forward[0]
    away = same_way[: FRAMES_A_LAP // 2].min()
    assert away < 0.75 and same_way[FRAMES_A_LAP // 2 - 3 :].max() > 0.95
    # Not from the same place: a revisit has parallax.
    back = FRAMES_A_LAP // 2 + int(same_way[FRAMES_A_LAP // 2 :].argmax())
    assert (room.cameras.centres[back] - room.cameras.centres[0]).norm() > 0.05


def test_rooms_are_rich_in_detail(room):
    for i in (0, 20, 40):
        frame = room.frame(i)
        assert 0 <= frame.min() and frame.max() <= 1
        steps = (frame[:, :, 1:] - frame[:, :, :-1]).abs().mean(0)
        assert steps.mean() > 0.02 and frame.std() > 0.1


def test_any_trajectory(room):
    half = procedural_recording(seed=3, cameras=room.cameras[10:12].resized((24, 32)))
    assert half.cameras.size == (24, 32) and len(half) == 2
    coarse = torch.nn.functional.avg_pool2d(room.frame(10), 2)
    assert (half.frame(0) - coarse).abs().mean() < 0.06


def test_the_room_is_filmed_anew_from_any_of_its_frames(room):
    path2start = room.cameras[20:23].relative_to(room.cameras[20])
    other = room.along(20, path2start)
    assert len(other) == 3 and len(room) == FRAMES_A_LAP and other.caption() == room.caption()
    assert (other.frame(0) - room.frame(20)).abs().mean() < 1e-3
    torch.testing.assert_close(other.cameras.c2w[2], room.cameras.c2w[22])
    assert (other.depth(2) - room.depth(22)).abs().median() < 1e-4
    assert other.clip([1], (24, 32)).cameras.size == (24, 32)


def test_words(room):
    said = open_recording("procedural:seed=3,frames=72,size=48x64")
    assert alike(said.cameras.c2w, room.cameras.c2w) and said.cameras.size == SIZE
    assert str(said.path) == "procedural:seed=3"


def test_walks_of_one_room_differ_and_keep_clear_of_furniture():
    walks = [open_recording(f"procedural:seed=3,walk={i},frames=24,size=4x6") for i in range(3)]
    assert [str(walk.path) for walk in walks] == [
        "procedural:seed=3",
        "procedural:seed=3,walk=1",
        "procedural:seed=3,walk=2",
    ]
    assert alike(walks[0].cameras.c2w, procedural_recording(3, frames=24).cameras.c2w)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        apart = walks[one].cameras.centres - walks[other].cameras.centres
        assert apart.norm(dim=-1).mean() > 0.1
    for walk in walks:
        assert walk.room is walks[0].room
        assert walk.distances(walk.cameras.centres.numpy()).min() >= CLEARANCE


def test_walks_of_one_room_have_errors_of_their_own():
    words = "procedural:seed=3,frames=6,size=4x6,errors=1"
    plain, first = open_recording(words), open_recording(f"{words},walk=1")
    assert str(first.path) == "procedural:seed=3,walk=1,errors=1" and plain.seed == 3
    assert first.seed != plain.seed
    assert open_recording(f"{words},walk=2").seed != first.seed


def test_ranges_stand_for_every_walk_of_every_room():
    assert one_room_each("procedural:seed=3..4,frames=7,walk=0..2") == [
        f"procedural:seed={seed},frames=7,walk={walk}" for seed in (3, 4) for walk in (0, 1, 2)
    ]
    assert one_room_each("procedural:walk=1..2") == ["procedural:walk=1", "procedural:walk=2"]
    assert len(find_recordings("procedural:seed=0..4,walk=0..3")) == 20
    with pytest.raises(ValueError, match="range of walks 2..1 is empty"):
        one_room_each("procedural:seed=3,walk=2..1")


def test_photographs_change_surfaces_and_nothing_else(room):
    shown = open_recording("procedural:seed=3,frames=72,size=48x64,photos=1")
    assert alike(shown.cameras.c2w, room.cameras.c2w)
    assert alike_pictures(shown.depth(5), room.depth(5))
    changed = torch.stack([(shown.frame(i) - room.frame(i)).abs().amax(0) for i in (5, 30)]) > 0.02
    assert 0.01 < changed.float().mean() < 0.95
    assert alike_pictures(
        open_recording("procedural:seed=3,frames=72,size=48x64,photos=0").frame(5), room.frame(5)
    )


@pytest.mark.parametrize(
    "words", ["seed=x", "size=48", "frames=0", "colour=3", "seed", "seed=-1", "photos=2", "walk=x"]
)
def test_words_that_cannot_be_read(words):
    with pytest.raises(ValueError, match="procedural"):
        open_recording(f"procedural:{words}")

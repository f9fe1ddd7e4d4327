import pytest
import torch

from anchorweave.clip import join_clips
from anchorweave.geometry.point_cloud import depth_edges
from anchorweave.memory import Bank, LocalClouds, MemoryConfig
from anchorweave.memory.stored_views import StoredViews
from anchorweave.retrieval import RetrievalConfig
from tests.alike import alike_pictures
from tests.rooms import look, view_room, walk


def memory_at(path, depth_edge=0.04, **retrieval):
    config = MemoryConfig(depth_edge=depth_edge)
    return LocalClouds(Bank(path), config, RetrievalConfig(downscale=1, **retrieval))


def test_slot_0_goes_to_the_newest_memory_seen_from_the_first_target_camera(tmp_path):
    memory = memory_at(tmp_path)
    memory.update(join_clips([walk(5), walk(5)[2:3]]))
    report = memory.retrieve(walk(5).cameras[2:]).report
    assert report[0].picks[0].memory == 5 and report[0].picks[0].forced
    elsewhere = look([[0.05, 0.0, -1.0]], [0.02])
    assert not memory.retrieve(elsewhere).report[0].picks[0].forced


def test_slot_0_of_a_slow_camera_goes_to_the_nearest_memory(tmp_path):
    memory = memory_at(tmp_path)
    slow = look([[step * 3e-5, 0.0, 0.0] for step in range(4)], [0.0] * 4)
    memory.update(view_room(slow))
    assert [memory.retrieve(slow[[i]]).report[0].picks[0].memory for i in range(4)] == [0, 1, 2, 3]


def test_views_that_cannot_be_stored_do_not_lose_the_frames(tmp_path, monkeypatch):
    memory = memory_at(tmp_path)

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StoredViews, "store", full)
    with pytest.warns(UserWarning, match="opening the memory again will take longer"):
        memory.update(walk(5))
    assert len(memory) == 5
    assert memory.retrieve(walk(5).cameras).report[0].picks
    assert len(memory_at(tmp_path).retrieve(walk(5).cameras).report[0].picks)


def test_forced_none_leaves_slot_0_to_coverage(tmp_path):
    memory = memory_at(tmp_path, forced="none")
    memory.update(walk(5))
    picks = memory.retrieve(walk(5).cameras[2:]).report[0].picks
    assert not any(pick.forced for pick in picks)


def test_memories_are_never_fused(tmp_path):
    """A memory with a pose error of its own does not touch what another shows."""
    memory = memory_at(tmp_path / "a", forced="none", anchors=1)
    good = walk(3)
    memory.update(good)
    alone = memory.retrieve(good.cameras[1:2]).anchors
    shifted = view_room(look([[1.9, 1.0, 2.5]], [3.0]))
    memory.update(shifted)
    assert alike_pictures(memory.retrieve(good.cameras[1:2]).anchors.video, alone.video)


def test_every_chunk_chooses_for_itself_and_poses_follow_the_memory_shown(tmp_path):
    memory = memory_at(tmp_path, chunk=2, anchors=2)
    memory.update(walk(7))
    target = walk(9).cameras
    got = memory.retrieve(target)
    assert [(c.start, c.stop) for c in got.report] == [(0, 3), (3, 5), (5, 7), (7, 9)]
    for chunk in got.report:
        for pick in chunk.picks:
            source = memory.bank.cameras[pick.memory]
            expected = source.w2c @ target.c2w[chunk.start]
            torch.testing.assert_close(got.anchors.target2source[pick.slot, chunk.start], expected)
    assert len({chunk.picks[-1].memory for chunk in got.report}) > 1


def test_a_chunk_without_overlap_is_padded_and_reported(tmp_path):
    memory = memory_at(tmp_path)
    memory.update(view_room(look([[0.0, 0.0, 0.0]], [0.0])))
    away = look([[0.0, 0.0, -1.0]] * 3, [3.14] * 3)
    got = memory.retrieve(away)
    assert len(got.anchors) == 4 and not got.anchors.visible.any()
    assert got.report[0].pool == 0 and got.report[0].stopped == "pool empty"


def test_points_at_depth_edges_are_dropped(tmp_path):
    clip = walk(1)
    clip.depth[0, 10:14, 10:20] *= 0.5
    sharp, all_points = memory_at(tmp_path / "a"), memory_at(tmp_path / "b", depth_edge=10.0)
    for memory in (sharp, all_points):
        memory.update(clip)
    edges = depth_edges(sharp.bank.depth(0), 0.04).sum()
    assert edges > 0
    assert len(all_points.cloud(0)) - len(sharp.cloud(0)) == edges


def picks_of(memory, target):
    return [
        [(pick.slot, pick.memory, pick.gain) for pick in chunk.picks]
        for chunk in memory.retrieve(target).report
    ]


def test_opening_reads_no_picture_and_retrieving_none_but_those_it_shows(tmp_path, monkeypatch):
    grown = memory_at(tmp_path, chunk=2, anchors=2)
    for start in range(0, 12, 4):
        grown.update(walk(12)[start : start + 4])
    target = walk(9).cameras[5:]
    expected, anchors = picks_of(grown, target), grown.retrieve(target).anchors
    read, depth = [], Bank.depth
    monkeypatch.setattr(Bank, "depth", lambda bank, i: (read.append(i), depth(bank, i))[1])
    opened = memory_at(tmp_path, chunk=2, anchors=2)
    assert not read
    assert picks_of(opened, target) == expected
    shown = {memory for chunk in expected for _, memory, _ in chunk}
    assert set(read) == shown and len(shown) < 12
    assert torch.equal(opened.retrieve(target).anchors.video, anchors.video)
    assert torch.equal(opened.retrieve(target).anchors.visible, anchors.visible)


def stored_views(path):
    (file,) = path.glob("views-*.bin")
    return file


@pytest.mark.parametrize("harm", ["none", "gone", "torn", "flipped", "swapped"])
def test_without_or_with_damaged_views_the_same_is_picked(tmp_path, harm):
    grown = memory_at(tmp_path, chunk=2, anchors=2)
    grown.update(walk(10))
    target = walk(9).cameras[5:]
    expected, file = picks_of(grown, target), stored_views(tmp_path)
    whole = file.read_bytes()
    one = len(whole) // 10
    file.write_bytes(
        {
            "none": whole,
            "gone": b"",
            "torn": whole[: 4 * one + 50],
            "flipped": whole[:200] + bytes([whole[200] ^ 64]) + whole[201:],
            "swapped": whole[one : 2 * one] + whole[:one] + whole[2 * one :],
        }[harm]
    )
    opened = memory_at(tmp_path, chunk=2, anchors=2)
    assert picks_of(opened, target) == expected
    # To read changes nothing; to add mends what is stored.
    opened.update(walk(12)[10:])
    grown = memory_at(tmp_path, chunk=2, anchors=2)
    assert file.read_bytes()[: len(whole)] == whole and len(file.read_bytes()) == 12 * one
    assert len(grown) == 12 and picks_of(grown, target) == picks_of(opened, target)


def test_other_settings_have_views_of_their_own(tmp_path):
    memory_at(tmp_path).update(walk(4))
    other = memory_at(tmp_path, depth_edge=0.5)
    other.update(walk(6)[4:])
    assert len(list(tmp_path.glob("views-*.bin"))) == 2
    assert picks_of(memory_at(tmp_path), walk(5).cameras)


def test_a_depth_picture_that_was_changed_is_met_where_it_is_shown(tmp_path):
    memory = memory_at(tmp_path)
    memory.update(walk(3))
    for path in (tmp_path / "depth").iterdir():
        path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ValueError, match="is not the picture that was remembered"):
        memory_at(tmp_path).retrieve(walk(3).cameras)

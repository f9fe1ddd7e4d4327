"""What every memory system promises, whatever it keeps (memory/base.py)."""

import pytest
import torch

from anchorweave.evaluation.image_metrics import psnr
from anchorweave.memory import (
    MEMORIES,
    Bank,
    MapAndKeyframesConfig,
    MemoryConfig,
    open_memory,
)
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig
from tests.alike import alike_pictures
from tests.rooms import look, view_room, walk

# Voxels as large as what a pixel of 24x32 shows of the room; smaller ones show pixels as steps.
SMALL_MAP = MapAndKeyframesConfig(voxel=0.09, splat_radius=0)


@pytest.fixture(params=MEMORIES)
def make(request):
    def open_at(path):
        config = MemoryConfig(kind=request.param, map_and_keyframes=SMALL_MAP)
        # Full resolution: at 24x32 an eighth would leave 12 pixels to choose by.
        retrieval = RetrievalConfig(downscale=1)
        return open_memory(Bank(path), config, retrieval, RenderConfig())

    return open_at


def tensors(retrieved):
    return (
        retrieved.anchors.video,
        retrieved.anchors.visible,
        retrieved.anchors.target2source,
        retrieved.target2first,
        retrieved.references.frames,
        retrieved.references.cameras.c2w,
        retrieved.references.reference2first,
    )


def assert_same(a, b):
    for one, other in zip(tensors(a), tensors(b), strict=True):
        assert alike_pictures(one, other)
    assert a.report == b.report


def test_shapes(make, tmp_path):
    memory = make(tmp_path)
    memory.update(walk(6))
    target = walk(9).cameras
    got = memory.retrieve(target)
    N = len(got.anchors)
    assert got.anchors.video.shape == (N, 9, 3, 24, 32)
    assert got.anchors.visible.shape == (N, 9, 24, 32)
    assert got.target2first.shape == (9, 4, 4) and len(memory) == 6
    most = memory.gives_at_most(memory.config, memory.retrieval)
    assert N <= most[0] and len(got.references) <= most[1]
    torch.testing.assert_close(got.target2first[0], torch.eye(4))
    assert [(c.start, c.stop) for c in got.report] == [(0, 9)]
    assert not got.anchors.video.masked_select(~got.anchors.visible[:, :, None]).any()


def test_target_cameras_of_another_precision(make, tmp_path):
    memory = make(tmp_path)
    target = walk(5).cameras.to(torch.float64)
    assert memory.retrieve(target).target2first.dtype == torch.float32
    memory.update(walk(6))
    assert_same(memory.retrieve(target), memory.retrieve(target.to(torch.float32)))
    assert alike_pictures(memory.known_depth(target), memory.known_depth(walk(5).cameras))


def test_an_empty_memory_shows_nothing(make, tmp_path):
    memory = make(tmp_path)
    got = memory.retrieve(walk(5).cameras)
    assert len(memory) == 0
    assert not got.anchors.visible.any() and not got.anchors.video.any()
    assert not len(got.references)
    assert all(chunk.pool == 0 and not chunk.picks for chunk in got.report)
    assert not memory.known_depth(walk(5).cameras).any()


def test_the_same_updates_give_the_same_anchors(make, tmp_path):
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    for memory in (first, second):
        memory.update(walk(6))
    target = walk(9).cameras
    assert_same(first.retrieve(target), second.retrieve(target))
    assert_same(first.retrieve(target), first.retrieve(target))


def test_an_update_changes_no_earlier_result(make, tmp_path):
    memory = make(tmp_path)
    memory.update(walk(3))
    before = memory.retrieve(walk(9).cameras)
    kept = [value.clone() for value in tensors(before)]
    memory.update(view_room(look([[0.5, 0.2, 0.5]], [0.9])))
    assert all(torch.equal(a, b) for a, b in zip(kept, tensors(before), strict=True))


def test_a_reopened_bank_retrieves_the_same(make, tmp_path):
    memory = make(tmp_path)
    memory.update(walk(4))
    memory.update(view_room(look([[0.5, 0.2, 0.5]], [0.9])))
    target = walk(9).cameras
    assert_same(memory.retrieve(target), make(tmp_path).retrieve(target))
    assert alike_pictures(memory.known_depth(target), make(tmp_path).known_depth(target))


def test_a_stored_view_comes_back(make, tmp_path):
    seen = walk(5)
    memory = make(tmp_path)
    memory.update(seen)
    got = memory.retrieve(seen.cameras[2:3])
    if not memory.keeps_geometry:
        poses = got.references.reference2first
        (here,) = ((poses - torch.eye(4)).abs().amax(dim=(1, 2)) < 1e-5).nonzero().flatten()
        torch.testing.assert_close(
            got.references.frames[here], seen.frames[2], atol=0.51 / 255, rtol=0
        )
        return
    visible = got.anchors.visible[0]
    # At 24x32 the corners of the room are steep enough to be taken for depth edges.
    assert visible.float().mean() > 0.6
    assert psnr(got.anchors.video[0], seen.frames[2:3], visible) >= 30
    # From where it was seen, a memory is related by the identity.
    torch.testing.assert_close(got.anchors.target2source[0, 0], torch.eye(4), atol=1e-5, rtol=1e-5)


def test_known_depth_is_the_depth_of_the_room(make, tmp_path):
    memory = make(tmp_path)
    memory.update(walk(5))
    target = view_room(look([[0.1, 0.0, -0.9]], [0.1]))
    known = memory.known_depth(target.cameras)
    seen = known > 0
    if not memory.keeps_geometry:
        assert known.shape == target.depth.shape and not seen.any()
        return
    assert seen.float().mean() > 0.5
    error = (known - target.depth)[seen].abs() / target.depth[seen]
    assert error.median() < 0.02


def test_moving_things_are_kept_out(make, tmp_path):
    seen = walk(1)
    static = torch.ones_like(seen.depth, dtype=torch.bool)
    static[:, 8:16, 8:24] = False
    moving = type(seen)(seen.frames, seen.depth, seen.cameras, seen.names, static)
    memory = make(tmp_path)
    memory.update(moving)
    if not memory.keeps_geometry:
        # Frames are kept as they were seen: nothing can be left out of them.
        (frame,) = memory.retrieve(seen.cameras).references.frames
        torch.testing.assert_close(frame, seen.frames[0], atol=0.51 / 255, rtol=0)
        return
    visible = memory.retrieve(seen.cameras).anchors.visible.any(dim=0)
    assert not visible[:, 8:16, 8:24].any() and visible[:, :8].float().mean() > 0.7


def test_frames_of_another_size_are_refused_and_nothing_is_lost(make, tmp_path):
    memory = make(tmp_path)
    memory.update(walk(3))
    with pytest.raises(ValueError, match="holds frames of"):
        memory.update(walk(2, size=(16, 16)))
    assert len(memory) == 3
    got = memory.retrieve(walk(9).cameras)
    assert got.anchors.visible.any() if memory.keeps_geometry else len(got.references) == 3

"""A memory of so many frames: those go that others show as well."""

import pytest
import torch

from anchorweave.memory import Bank, MemoryConfig, open_memory
from anchorweave.memory.limited import Limited
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig, coarse_views
from anchorweave.retrieval.shared_surfaces import shown_before
from tests.rooms import look, view_room, walk


def views_of(clip):
    return [
        coarse_views(clip.depth[i : i + 1], clip.cameras[i : i + 1], (str(i),), 1)
        for i in range(len(clip))
    ]


def turning(yaws):
    return view_room(look([[0.0, 0.0, 0.0]] * len(yaws), yaws))


def offered(clip, limit, evict="least_unique"):
    kept = Limited(limit, evict, 0.05)
    for view in views_of(clip):
        kept.offer(view)
    return kept


def slow_unique(views):
    """The definition: what each view shows and no other one, each looked up anew."""
    found = []
    for i, view in enumerate(views):
        alone = view.depth[0] > 0
        for j, other in enumerate(views):
            if j != i:
                alone &= ~shown_before(view.depth[0], view.cameras[0], other, 0.05)
        found.append(alone.float().mean().item())
    return found


def test_counts_kept_along_the_way_equal_the_definition():
    clip = walk(9)
    kept = offered(clip, 4)
    views = [views_of(clip)[i] for i in kept.numbers]
    # Rounding may move a few of a view's points over the edge of a pixel.
    assert len(views) == 4 and kept.unique() == pytest.approx(slow_unique(views), abs=5e-3)


def test_what_another_frame_shows_as_well_goes_first():
    # Two looks to the right that show the same, one ahead, one to the left, one back.
    clip = turning([1.6, 1.62, 0.0, -1.6, 3.1])
    kept = offered(clip, 4)
    assert kept.numbers == [1, 2, 3, 4]
    # Of frames that are the same the older goes, and the newest always stays.
    same = turning([0.0, 1.6, 0.0, 0.0])
    assert offered(same, 2).numbers == [1, 3]
    assert offered(same, 1).numbers == [3]
    assert offered(same, 2, "oldest").numbers == [2, 3] and offered(same, 9).numbers == [0, 1, 2, 3]


def memory_at(path, **options):
    config = MemoryConfig(**options)
    retrieval = RetrievalConfig(anchors=2, downscale=1, forced="none")
    return open_memory(Bank(path), config, retrieval, RenderConfig())


def picked(retrieved):
    return {pick.memory for chunk in retrieved.report for pick in chunk.picks}


def test_only_what_stays_is_given_and_the_bank_keeps_all(tmp_path):
    clip = turning([0.0, 1.6, 1.62, 1.64, 3.1])
    memory = memory_at(tmp_path / "once", limit=3)
    memory.update(clip)
    assert len(memory.bank) == 5 and memory.chosen_from() == [0, 3, 4]
    target = look([[0.0, 0.0, 0.0]] * 3, [1.61] * 3)
    given = memory.retrieve(target)
    assert picked(given) == {3}
    # Frame by frame, or opened again: the same.
    other = memory_at(tmp_path / "slowly", limit=3)
    for i in range(5):
        other.update(clip[[i]])
    again = memory_at(tmp_path / "once", limit=3)
    for one in (other, again):
        assert one.chosen_from() == [0, 3, 4] and picked(one.retrieve(target)) == {3}
    assert memory_at(tmp_path / "once").chosen_from() is None


def test_it_covers_more_than_a_window_of_the_newest(tmp_path):
    clip = turning(torch.linspace(0, 3.0, 12).tolist())
    target = look([[0.0, 0.0, 0.0]] * 2, [0.1, 0.1])
    shown = {}
    for evict in ("least_unique", "oldest"):
        memory = memory_at(tmp_path / evict, limit=4, evict=evict)
        memory.update(clip)
        shown[evict] = memory.retrieve(target).anchors.visible.any(dim=0).float().mean().item()
    assert shown["least_unique"] > 0.8 and shown["oldest"] < 0.1


def test_an_empty_memory_with_a_limit(tmp_path):
    memory = memory_at(tmp_path / "empty", limit=3)
    assert not memory.retrieve(look([[0.0, 0.0, 0.0]], [0.0])).anchors.visible.any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limit": 0}, "memory.limit=0: must be at least 1 frame"),
        (
            {"limit": 3, "kind": "global_cloud"},
            "memory=global_cloud always chooses from all frames",
        ),
    ],
)
def test_limits_that_cannot_be(options, said):
    with pytest.raises(ValueError, match=said):
        MemoryConfig(**options)

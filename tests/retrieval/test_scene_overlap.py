import pytest
import torch

from anchorweave.retrieval.scene_overlap import SceneParts, choose_references, views_asked


def cells(*numbers):
    """One point in each of these unit voxels along x."""
    return torch.tensor([[n + 0.5, 0.5, 0.5] for n in numbers])


def test_overlap_is_intersection_over_union():
    parts = SceneParts(1.0)
    parts.add(cells(0, 1, 2, 3, 3, 3))
    parts.add(cells(2, 3, 4, 5))
    parts.add(torch.zeros(0, 3))
    assert len(parts) == 3
    assert parts.overlap(cells(0, 1, 1)).tolist() == pytest.approx([2 / 4, 0, 0])
    assert parts.overlap(cells(2, 3, 4)).tolist() == pytest.approx([2 / 5, 3 / 4, 0])
    # A voxel that no frame showed is not of the remembered scene.
    assert parts.overlap(cells(2, 3, 4, 99)).tolist() == pytest.approx([2 / 5, 3 / 4, 0])
    assert parts.overlap(torch.zeros(0, 3)).tolist() == [0, 0, 0]


def test_no_frames_overlap_with_nothing():
    assert len(SceneParts(1.0).overlap(cells(0))) == 0


def test_every_kth_target_frame_is_asked_and_none_for_no_references():
    assert list(views_asked(49, 7)) == [0, 7, 14, 21, 28, 35, 42]
    assert list(views_asked(5, 1)) == [0, 1, 2, 3, 4]
    assert list(views_asked(49, 0)) == []


SHARES = torch.tensor([[0.1, 0.5, 0.5, 0.0], [0.2, 0.1, 0.6, 0.0], [0.0, 0.3, 0.9, 0.04]])


@pytest.mark.parametrize(
    "count, min_overlap, chosen, stopped",
    [
        (3, 0.05, [2, 0, 1], "K reached"),  # of equal ones the newer; each once
        (2, 0.05, [2, 0], "K reached"),
        (3, 0.25, [2, 1], "no other frame overlaps by more than 25%"),
        (4, 0.0, [2, 0, 1], "no other frame overlaps by more than 0%"),
        (0, 0.05, [], "K reached"),
    ],
)
def test_each_target_frame_takes_the_best_frame_that_is_left(count, min_overlap, chosen, stopped):
    assert choose_references(list(SHARES), count, min_overlap) == (chosen, stopped)


def test_what_just_reaches_the_threshold_is_not_taken():
    assert choose_references([torch.tensor([0.5])], 1, 0.5)[0] == []

import numpy as np
import pytest
import torch

from anchorweave.geometry.projection import project
from anchorweave.memory import MEMORIES, Bank, LocalClouds, MapAndKeyframesConfig, MemoryConfig
from inference.explorer.clouds import cloud_parts, evenly, small_cloud
from inference.explorer.frusta import camera_along, frustum_lines
from inference.explorer.versions import fork_bank
from tests.rooms import look, view_room, walk


def test_a_frustum_ends_at_the_corners_of_the_image():
    cameras = look([[0.1, 0.2, -1.0], [0.4, 0.0, 0.0]], [0.3, -0.2])
    lines = torch.from_numpy(frustum_lines(cameras, 0.5)).view(2, 8, 2, 3)
    torch.testing.assert_close(lines[:, :4, 0], cameras.centres[:, None].expand(2, 4, 3))
    corners, depth = project(lines[1, :4, 1], cameras[1])
    height, width = cameras.size
    assert {tuple(c) for c in corners.round().int().tolist()} == {
        (0, 0),
        (0, height),
        (width, 0),
        (width, height),
    }
    torch.testing.assert_close(depth, torch.full((4,), 0.5))


def test_a_click_means_the_first_camera_before_a_surface():
    cameras = look([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [1.0, 0.0, 2.0]], [0.0, 0.0, 0.0])
    origin, ahead = torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])
    number, far = camera_along(cameras, 0.2, origin, ahead, torch.inf)
    assert number == 0 and far == pytest.approx(1.1)
    assert camera_along(cameras, 0.2, origin, ahead, 1.05) is None
    # Not one that stands where one looks from.
    number, _ = camera_along(cameras, 0.2, torch.tensor([0.0, 0.0, 0.95]), ahead, torch.inf)
    assert number == 1
    aside = torch.nn.functional.normalize(torch.tensor([1.0, 0.0, 2.1]), dim=0)
    assert camera_along(cameras, 0.2, origin, aside, torch.inf)[0] == 2
    assert camera_along(cameras, 0.2, origin, -ahead, torch.inf) is None
    assert camera_along(cameras[:0], 0.2, origin, ahead, torch.inf) is None


def test_few_points_of_a_frame_are_points_of_it(tmp_path):
    memory = LocalClouds(Bank(tmp_path))
    memory.update(walk(3))
    whole, few = memory.cloud(1), small_cloud(memory.bank, 1, 0.04, 100)
    assert 40 < len(few) <= 100
    same = (few.points[:, None] == whole.points).all(dim=-1)
    assert same.any(dim=1).all()


@pytest.mark.parametrize("kind", MEMORIES)
def test_no_more_points_are_drawn_than_asked_for(tmp_path, kind):
    LocalClouds(Bank(tmp_path)).update(walk(30))
    config = MemoryConfig(kind=kind, map_and_keyframes=MapAndKeyframesConfig(voxel=0.09))
    memory = MEMORIES[kind](Bank(tmp_path), config)
    parts = list(cloud_parts(memory, 0.04, 3_000))
    if memory.keeps_geometry:
        assert 500 < sum(map(len, parts)) <= 3_000
    else:
        assert not parts
    assert not list(cloud_parts(MEMORIES[kind](Bank(tmp_path / "none"), config), 0.04, 100))


def test_a_memory_of_a_thousand_frames_is_shown_forked_and_grown(tmp_path):
    memory = LocalClouds(Bank(tmp_path / "long"))
    memory.update(walk(1000, (12, 16)))
    parts = list(cloud_parts(memory, 0.04, 60_000))
    assert len(parts) == 40 and sum(map(len, parts)) <= 60_000
    fork = fork_bank(memory.bank, tmp_path / "fork")
    more = view_room(look([[0.5, 0.2, 0.5]], [0.9], (12, 16)))
    grown = LocalClouds(fork)
    grown.update(more)
    assert len(Bank(tmp_path / "fork")) == 1001 and len(Bank(tmp_path / "long")) == 1000
    # The pictures are one and the same file, the lists are two.
    name = "images/000500.png"
    assert (tmp_path / "fork" / name).samefile(tmp_path / "long" / name)
    assert grown.retrieve(more.cameras).report[0].picks


def test_evenly_spread_numbers():
    assert evenly(3, 5).tolist() == [0, 1, 2] and len(evenly(0, 5)) == 0
    spread = evenly(10_000, 7)
    assert len(spread) == 7 and spread[0] == 0 and spread[-1] == 9_999
    assert np.diff(spread).max() - np.diff(spread).min() <= 1

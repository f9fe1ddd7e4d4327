from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anchorweave.geometry.tsdf import BLOCK
from anchorweave.memory import (
    MEMORIES,
    Bank,
    GlobalCloudConfig,
    MapAndKeyframesConfig,
    MemoryConfig,
    open_memory,
)
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig
from inference.geometry.bytes_kept import bytes_kept, held_bytes
from tests.rooms import walk

FRAMES = 8


# A map of few blocks, which is made in no time.
COARSE = MapAndKeyframesConfig(voxel=0.1)


def opened(path, kind, **options):
    config = MemoryConfig(kind=kind, **{"map_and_keyframes": COARSE, **options})
    return open_memory(Bank(path), config, RetrievalConfig(), RenderConfig())


@pytest.fixture
def bank(tmp_path):
    Bank(tmp_path / "bank").append(walk(FRAMES))
    return tmp_path / "bank"


def on_disk(bank, *folders):
    return sum(file.stat().st_size for name in folders for file in (bank / name).iterdir())


@pytest.mark.parametrize("kind", MEMORIES)
def test_disk_is_the_files_that_are_there(bank, kind):
    listed = (bank / "transforms.json").stat().st_size
    everything = sum(file.stat().st_size for file in bank.rglob("*") if file.is_file())
    kept = bytes_kept(opened(bank, kind))
    if kind == "posed_frames":
        assert kept.disk == listed + on_disk(bank, "images") < everything
    else:
        assert kept.disk == everything


def test_frames_that_may_still_be_given(bank):
    images, whole = on_disk(bank, "images"), on_disk(bank, "images", "depth")
    assert bytes_kept(opened(bank, "local_clouds")).given == whole
    assert bytes_kept(opened(bank, "global_cloud")).given == images
    assert bytes_kept(opened(bank, "posed_frames")).given == images
    alone = opened(bank, "global_cloud", global_cloud=GlobalCloudConfig(references=0))
    assert bytes_kept(alone).given == 0


def test_a_map_may_give_its_key_frames_and_the_last_ones(bank):
    sizes = [(bank / "images" / f"{i:06d}.png").stat().st_size for i in range(FRAMES)]
    few = replace(COARSE, working=2, min_revealed=0.4)
    memory = opened(bank, "map_and_keyframes", map_and_keyframes=few)
    given = {*memory.key_frames.numbers, FRAMES - 2, FRAMES - 1}
    assert 0 in given and len(given) < FRAMES
    assert bytes_kept(memory).given == sum(sizes[number] for number in given)
    only_last = replace(COARSE, episodic=0, working=2)
    memory = opened(bank, "map_and_keyframes", map_and_keyframes=only_last)
    assert bytes_kept(memory).given == sum(sizes[-2:])


def test_main_memory_of_local_clouds_is_their_coarse_views(bank):
    memory = opened(bank, "local_clouds")
    posed = bytes_kept(opened(bank, "posed_frames")).memory
    # A coarse pixel of 4 bytes for 8 x 8; cameras are the bank's.
    coarse = FRAMES * 4 * (3 * 4)
    # They are read when something is first asked for; clouds decoded for one call do not count.
    assert bytes_kept(memory).memory == posed
    memory.retrieve(walk(3).cameras)
    assert bytes_kept(memory).memory == posed + coarse


def test_fused_geometry_counts(bank):
    coarse, fine = (
        opened(bank, "global_cloud", global_cloud=GlobalCloudConfig(voxel=voxel))
        for voxel in (0.5, 0.01)
    )
    assert bytes_kept(fine).memory > bytes_kept(coarse).memory + 100 * len(fine.cloud) // 2
    memory = opened(bank, "map_and_keyframes")
    blocks = held_bytes(memory.map) // (BLOCK**3 * 20)
    assert blocks >= len(memory.map._blocks) > 0
    assert bytes_kept(memory).memory > held_bytes(memory.map) > blocks * BLOCK**3 * 20


def test_an_empty_memory_keeps_nothing_on_disk(tmp_path):
    kept = bytes_kept(opened(tmp_path / "none", "local_clouds"))
    assert (kept.disk, kept.given, kept.memory) == (0, 0, 0)


def test_what_is_shared_is_counted_once():
    values = torch.zeros(10, 10)
    assert held_bytes([values, values[:5], (values,), {"a": values.view(100)}]) == 400
    assert held_bytes([np.zeros(4), torch.zeros(2)]) == 32 + 8
    # Other people's objects are not looked into.
    assert held_bytes(SimpleNamespace(values=values)) == 0

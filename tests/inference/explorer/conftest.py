import pytest

from anchorweave.config import load_config
from anchorweave.memory import Bank, LocalClouds
from inference.explorer.config import ExploreConfig
from inference.explorer.session import Session
from tests.rooms import walk

SIZE, FRAMES = (24, 32), 5


@pytest.fixture
def words(tmp_path):
    """What a session over a memory of 6 frames is configured by."""
    bank = tmp_path / "bank"
    LocalClouds(Bank(bank)).update(walk(6, SIZE))
    return [
        f"memory.path={bank}",
        f"output={tmp_path / 'out'}",
        f"frames={FRAMES}",
        f"size={list(SIZE)}",
        "sampling.steps=3",
        "retrieval.downscale=1",
        # Voxels as large as what a pixel shows of the room.
        "memory.map_and_keyframes.voxel=0.09",
    ]


@pytest.fixture
def opened(words):
    """Returns a function (extra words) -> session."""
    return lambda *more: Session(load_config(ExploreConfig, [*words, *more]))

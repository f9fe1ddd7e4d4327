"""A memory system that is registered from outside the package works everywhere by that alone."""

import inspect

import pytest

from anchorweave.config import load_config, save_config
from anchorweave.memory import MEMORIES, Bank, MemoryConfig, open_memory
from anchorweave.option_help import options_of
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig
from anchorweave.run_config import RunConfig
from inference.geometry.bytes_kept import bytes_kept
from inference.geometry.config import CompareConfig, rows_of
from inference.geometry.rows import show
from tests.memory import test_contract as contract
from tests.memory.toy import NewestFrames, NewestFramesConfig
from tests.rooms import walk
from training.preparing.config import PrepareConfig

# What is said of systems that draw any remembered frame; this one draws the newest.
OF_ALL_FRAMES = {"test_a_stored_view_comes_back", "test_shapes"}
PROMISES = {
    name: test
    for name, test in inspect.getmembers(contract, inspect.isfunction)
    if name.startswith("test_") and name not in OF_ALL_FRAMES
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(MEMORIES, "newest_frames", NewestFrames)


@pytest.fixture
def config():
    return load_config(RunConfig, ["memory=newest_frames", "memory.newest_frames.frames=2"])


@pytest.fixture
def make(config):
    return lambda path: open_memory(Bank(path), config.memory, RetrievalConfig(), RenderConfig())


@pytest.mark.parametrize("promise", PROMISES)
def test_it_keeps_the_contract(promise, make, tmp_path):
    PROMISES[promise](make, tmp_path)


def test_it_is_retrieved_rendered_and_counted(make, tmp_path, config):
    Bank(tmp_path).append(walk(4))
    rows = rows_of(CompareConfig(systems=("newest_frames",), memory=config.memory), walk(4))
    assert list(rows) == ["newest_frames"]
    shown = show(rows["newest_frames"], Bank(tmp_path), walk(4).cameras[2:])
    assert shown.visible.float().mean() > 0.5 and shown.points is None
    whole = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    last = [tmp_path / kind / f"{i:06d}.png" for kind in ("images", "depth") for i in (2, 3)]
    assert shown.kept.disk == whole
    assert shown.kept.given == sum(file.stat().st_size for file in last)
    memory = make(tmp_path / "new")
    memory.update(walk(4))
    # A float32 of each of 24x32 pixels, beside what the bank itself holds.
    held = bytes_kept(memory).memory - bytes_kept(make(tmp_path / "new")).memory
    assert held == 4 * 24 * 32


def test_its_options_are_keys_of_every_config(config, tmp_path):
    assert config.memory.newest_frames == NewestFramesConfig(2)
    assert isinstance(config.memory, MemoryConfig)
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(RunConfig, [f"config={tmp_path / 'saved.yaml'}"]) == config
    options = {option.key: option.meaning for option in options_of(RunConfig)}
    assert options["memory.newest_frames.frames"].startswith("so many of the newest are drawn")
    prepared = load_config(
        PrepareConfig, ["memories=[newest_frames]", "memory.newest_frames.frames=3"]
    )
    made = prepared.made()
    assert made["memory.newest_frames.frames"] == 3 and "memory.global_cloud.voxel" not in made


@pytest.mark.parametrize(
    "words, message",
    [
        (["memory.newest_frames.frame=1"], "frame.*Did you mean.*frames"),
        (["memory.newest_frames.frames=0"], "memory.newest_frames.frames must be 1 or more"),
        (["memory=newest_frame"], "newest_frames"),
    ],
)
def test_its_options_are_checked(words, message):
    with pytest.raises(ValueError, match=message):
        load_config(RunConfig, words)


def test_where_it_is_not_registered_it_is_no_key(monkeypatch):
    monkeypatch.delitem(MEMORIES, "newest_frames")
    with pytest.raises(ValueError, match="newest_frames"):
        load_config(RunConfig, ["memory.newest_frames.frames=2"])

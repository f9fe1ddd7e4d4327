import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anchorweave.config import load_config
from anchorweave.geometry.point_cloud import PointCloud, load_ply, save_ply
from anchorweave.geometry.selection import Box
from anchorweave.memory import MEMORIES, Bank, MemoryConfig, open_memory
from anchorweave.memory.edits import Add, Move, Recolour, Remove
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig
from inference.edit_memory import EditMemoryConfig, main, read_edit
from tests.rooms import walk

CONFIGS = sorted((Path(__file__).parent.parent.parent / "configs/edits").glob("*.yaml"))
BOX = "box: {centre: [0, 0, 1], size: [1.1, 1.1, 1.1]}"
SCENE = "box: {centre: [0, 0, 0], size: [9, 9, 9]}"
WALL = "box: {centre: [0, 0, 3], size: [9, 9, 0.1]}"


@pytest.fixture
def memory(tmp_path):
    Bank(tmp_path / "memory").append(walk(4))
    return tmp_path / "memory"


def edit(memory, edits, *words):
    main([f"memory.path={memory}", f"output={memory.parent / 'edited'}", f"edits={edits}", *words])
    return Bank(memory.parent / "edited")


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_memory_is_edited_and_gone_on_with(kind, memory, capsys):
    after = edit(memory, f"[{{recolour: {{{WALL}, colour: [1, 0, 0]}}}}]")
    said = capsys.readouterr().out
    assert "recolour: " in said and "in 4 frames" in said and "edits.png" in said
    assert json.loads((after.path / "edits.json").read_text())[0]["edited_from"] == str(memory)
    system = open_memory(after, MemoryConfig(kind), RetrievalConfig(downscale=1), RenderConfig())
    system.update(walk(2))
    got = system.retrieve(walk(5).cameras)
    anchors, references = got.anchors, got.references.frames
    seen = anchors.video.permute(0, 1, 3, 4, 2)[anchors.visible]
    pixels = torch.cat([seen, references.permute(0, 2, 3, 1).reshape(-1, 3)])
    red = (pixels - torch.tensor([1.0, 0.0, 0.0])).abs().amax(dim=1) < 0.01
    assert red.sum() > 100 and len(system) == 6


def test_frames_before_and_after_are_shown(memory):
    after = edit(memory, f"[{{recolour: {{{WALL}, colour: [1, 0, 0]}}}}]", "rows=2")
    with Image.open(after.path / "edits.png") as picture:
        # Two columns of 32 pixels, sevenfold, under their labels, beside the frames' numbers.
        assert picture.size == (70 + 2 * (7 * 32 + 4), 2 * (7 * 24 + 22))
        pixels = torch.from_numpy(np.array(picture))[:, 70:]
    red = (pixels == torch.tensor([255, 0, 0])).all(dim=-1)
    assert red[:, 228:].sum() > 1000 and not red[:, :228].any()


def test_all_operations_in_one_run(memory, tmp_path):
    steps = torch.linspace(-0.5, 0.5, 80)
    points = torch.cartesian_prod(steps, steps, torch.zeros(1))
    save_ply(PointCloud(points, torch.ones_like(points)), tmp_path / "thing.ply")
    ply = tmp_path / "thing.ply"
    after = edit(
        memory,
        f"[{{add: {{ply: {ply}, translation: [0, 0, 1]}}}},"
        f" {{move: {{{BOX}, translation: [0, 0, 1], degrees: 9}}}},"
        f" {{remove: {{{WALL}}}}}, {{recolour: {{{SCENE}, tint: [1, 1, 0.5]}}}}]",
    )
    (step,) = json.loads((after.path / "edits.json").read_text())
    assert [next(iter(done)) for done in step["edits"]] == ["add", "move", "remove", "recolour"]
    # White and halved in blue, two units away from where its file has it.
    things = (after.frame(1) - torch.tensor([1.0, 1.0, 0.5])[:, None, None]).abs().amax(
        dim=0
    ) < 0.01
    assert things.sum() > 20
    depth = after.depth(1)[things] + after.cameras.centres[1, 2]
    assert 1.4 < depth.min() and depth.max() < 2.6


def test_the_memorys_points_are_written_to_choose_by(memory, tmp_path, capsys):
    main([f"memory.path={memory}", f"points={tmp_path / 'deep' / 'points.ply'}", "voxel=0.05"])
    cloud = load_ply(tmp_path / "deep" / "points.ply")
    assert 500 < len(cloud) <= 4 * 24 * 32
    assert (cloud.points.abs() < torch.tensor([2.1, 1.6, 3.1])).all()
    assert "points.ply" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "memory"]


def test_a_part_of_the_points_selects(memory, tmp_path):
    main([f"memory.path={memory}", f"points={tmp_path / 'points.ply'}"])
    cloud = load_ply(tmp_path / "points.ply")
    save_ply(cloud[cloud.points[:, 2] > 2.95], tmp_path / "wall.ply")
    after = edit(memory, f"[{{remove: {{ply: {tmp_path / 'wall.ply'}, radius: 0.02}}}}]")
    gone = after.depth(0) == 0
    before = Bank(memory).depth(0)
    assert 0.1 < gone.float().mean() < 0.9 and not after.frame(0)[:, gone].any()
    assert torch.equal(after.depth(0)[~gone], before[~gone])


@pytest.mark.parametrize(
    "entry, expected",
    [
        (
            {"remove": {"box": {"centre": [0, 1, 2], "size": [1, 1, 1], "yaw": 30}}},
            Remove(Box((0.0, 1.0, 2.0), (1.0, 1.0, 1.0), 30.0)),
        ),
        (
            {"recolour": {"ply": "a part.ply", "radius": 1, "tint": [1, 2, 3]}},
            Recolour(None, "a part.ply", 1.0, tint=(1.0, 2.0, 3.0)),
        ),
        (
            {"move": {"ply": "a.ply", "radius": 0.1, "degrees": 5, "axis": [0, 0, 1]}},
            Move(None, "a.ply", 0.1, degrees=5.0, axis=(0.0, 0.0, 1.0)),
        ),
        ({"add": {"ply": "a #1.ply"}}, Add("a #1.ply")),
    ],
)
def test_edits_are_read(entry, expected):
    assert read_edit(entry, "edits[0]") == expected


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_loads_and_opens_with_its_command(path):
    config = load_config(EditMemoryConfig, [f"config={path}"])
    assert [read_edit(entry, "edits") for entry in config.edits]
    command = f"# python -m inference.edit_memory config=configs/edits/{path.name}\n"
    assert path.read_text().startswith(command)


@pytest.mark.parametrize(
    "edits, message",
    [
        ("[{erase: {}}]", r"edits\[0\]: unknown operation 'erase'; known are remove, recolour, mo"),
        ("[remove]", r"edits\[0\]: write {operation: {option: value}}, got 'remove'"),
        ("[{remove: {}, add: {}}]", "write {operation"),
        ("[{remove: 3}]", r"edits\[0\].remove: write {option: value}, got 3"),
        ("[{remove: {}}]", r"edits\[0\].remove: .*either a box or a ply"),
        ("[{remove: {box: {centre: [0, 0, 3]}}}]", r"edits\[0\].remove.box: size missing"),
        ("[{remove: {bocks: {}}}]", r"edits\[0\].remove: .*'bocks' not in 'Remove'"),
        ("[{remove: {box: {centre: [0, 0], size: [1, 1, 1]}}}]", "length 2"),
        ("[{remove: {box: {centre: [0, 0, 3], size: [1, -1, 1]}}}]", "must be positive"),
        ("[{remove: {box: {centre: [9, 9, 9], size: [1, 1, 1]}}}]", "no point of the memory lies"),
        (f"[{{recolour: {{{WALL}, colour: [1, 0, 2]}}}}]", r"must lie in \[0, 1\]"),
        (f"[{{recolour: {{{WALL}, colour: red}}}}]", r"edits\[0\].recolour: .*colour"),
        ("[{add: {}}]", r"edits\[0\].add: ply missing"),
        ("[]", "give one or more edits"),
    ],
)
def test_edits_that_are_none(edits, message, memory):
    with pytest.raises(ValueError, match=message):
        edit(memory, edits)
    assert [path.name for path in memory.parent.iterdir()] == ["memory"]


def test_the_options_of_earlier_versions_are_named(tmp_path):
    with pytest.raises(ValueError, match="memory is now memory.path"):
        main([f"memory={tmp_path}"])
    with pytest.raises(ValueError, match="depth_edge is now memory.depth_edge"):
        main(["depth_edge=0.1"])


@pytest.mark.parametrize("setting", ["rows=0", "memory.depth_edge=0", "colour=3"])
def test_settings_that_are_none(setting, memory):
    with pytest.raises(ValueError, match=setting.split("=")[0]):
        edit(memory, f"[{{remove: {{{WALL}}}}}]", setting)


def test_a_missing_ply(memory):
    with pytest.raises(FileNotFoundError, match="none.ply"):
        edit(memory, "[{add: {ply: none.ply}}]")


def test_an_output_that_is_there_and_a_memory_that_is_not(memory, tmp_path):
    (tmp_path / "edited").mkdir()
    with pytest.raises(FileExistsError, match="edited: exists"):
        edit(memory, f"[{{remove: {{{WALL}}}}}]")
    with pytest.raises(ValueError, match="nowhere holds no frames"):
        edit(tmp_path / "nowhere", f"[{{remove: {{{WALL}}}}}]")

"""Tables of the papers: their files, and one run whole at the smallest size."""

import json
import os
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import flat
from anchorweave.recordings.nerfstudio import write_recording
from inference.evaluation.config import EvaluationConfig
from tests.rooms import look, view_room
from training.ablate import main
from training.ablations import table as tables
from training.ablations.table import known_tables, load_table, planned_rows
from training.ablations.weights import (
    lacking_stages,
    lies_in,
    output_of,
    refuse_without_weights,
    run_stages,
    stages_of,
)
from training.recipe import RecipeConfig, Stage

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "ablations"
TABLES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
# What may differ between a table's rows and the system that they change.
VARIED = {
    "anchorweave_figure5": {"model.controller", "model.lora"},
    "anchorweave_table2": {
        "memory.kind",
        "model.controller",
        "model.lora",
        "retrieval.anchors",
        "retrieval.forced",
        "slots",
    },
    "anchorweave_table3": {"retrieval.anchors", "retrieval.forced", "slots"},
    "context_as_memory_table1": {"memory.posed_frames.choose"},
    "context_as_memory_table2": {"memory.posed_frames.context"},
    "context_as_memory_table3": {"memory.posed_frames.choose"},
    "spatia_table4": {
        "memory.global_cloud.references",
        "sampling.control_weight",
        "sampling.camera_weight",
    },
    "spatia_table5": {"memory.global_cloud.references"},
    "spatia_table6": {"rollout.segments"},
    "spatia_table7": {"memory.global_cloud.voxel"},
    "spmem_ablation": {"memory.map_and_keyframes.episodic", "memory.map_and_keyframes.working"},
}


@cache
def planned(name):
    return planned_rows(name, load_table(name), [], [])


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def rooms(tmp_path):
    for name, shift in (("one", 0.0), ("two", 0.3)):
        yaws = torch.linspace(-0.4, 0.4, 10) + shift
        positions = [[0.1 * i - 0.5 + shift, 0.0, -1.0] for i in range(10)]
        write_recording(view_room(look(positions, yaws, (32, 64), 40.0)), tmp_path / "rooms" / name)
    return tmp_path / "rooms"


def small(rooms, output):
    return [
        f"source={rooms}",
        f"output={output}",
        "model={path: tiny, dtype: float32}",
        "frames=5",
        "size=[32,64]",
        "samples=1",
        "batch=2",
        "sampling.steps=1",
        "retrieval.chunk=2",
        "resamples=50",
    ]


def test_a_table_runs_whole_and_stands_beside_the_papers(rooms, tmp_path, capsys):
    words = ["table=anchorweave_table3", "rows=[k1,k4]", *small(rooms, tmp_path / "out")]
    main(words)
    folder = tmp_path / "out" / "anchorweave_table3"
    found = json.loads((folder / "beside_paper.json").read_text())
    measured = json.loads((folder / "measured" / "partial_revisit" / "results.json").read_text())
    column = found["columns"]["PSNR (dB)"]
    assert column["paper"] == {"k1": 19.01, "k4": 20.96}
    for row in ("k1", "k4"):
        ours = measured["rows"][row]["metrics"]["psnr"]
        assert column["ours"][row]["mean"] == pytest.approx(ours["mean"])
        assert column["ours"][row]["clips"] == 2
    (pair,) = column["pairs"]
    assert (pair["better"], pair["worse"]) == ("k4", "k1")
    assert pair["paper"] == pytest.approx(1.95)
    means = [column["ours"][row]["mean"] for row in ("k4", "k1")]
    assert pair["ours"]["mean"] == pytest.approx(means[0] - means[1], abs=1e-9)
    assert found["rows"]["k1"]["changes"]["retrieval.anchors"] == 1
    text = (folder / "beside_paper.md").read_text()
    assert f"{means[0]:.3f} [" in text and "| 20.96 |" in text and column["statement"] in text
    # Once more: nothing is generated again.
    videos = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*/*/sample_*.npz")}
    assert len(videos) == 4
    main(words)
    assert {path: path.stat().st_mtime_ns for path in videos} == videos
    assert column["statement"] in capsys.readouterr().out


def test_a_dry_run_lists_what_is_lacking_and_does_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    main(["table=anchorweave_figure5", "dry_run=true", "rows=[full,average_fusion]"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("# first: row average_fusion: model.path=pretrained/")
    assert lines[0].endswith("is not there; bash scripts/reproduce_tiny.sh makes it")
    assert [line.split()[2] for line in lines[1:]] == [
        "inference.write_recordings",
        "torch.distributed.run",
        "torch.distributed.run",
        "training.train",
        "training.train",
        "inference.generate",
        "inference.generate",
        "inference.evaluate",
    ]
    assert (
        "model.fusion=average output=outputs/anchorweave_tiny/variants/average_fusion" in lines[5]
    )
    assert "attention=separate" not in "".join(lines)
    # The stages that prepare what a training reads go before it.
    main(["table=spatia_table6", "dry_run=true"])
    lines = capsys.readouterr().out.splitlines()
    modules = [word for line in lines for word in line.split() if word.startswith("training.")]
    assert modules == ["training.prepare_clips", "training.precompute_latents", "training.train"]
    assert "/long_horizon_4 " in f"{lines[-2]} " and "against" not in lines[-2]
    assert not (tmp_path / "outputs").exists()


def test_without_weights_a_row_says_what_makes_them(tmp_path, monkeypatch):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="row k1: model.path=.*reproduce_tiny.sh makes it"):
        main(["table=anchorweave_table3"])
    table = load_table("anchorweave_figure5")
    rows = planned_rows("anchorweave_figure5", table, ["average_fusion"], [])
    for weights in (rows[0].config.model.path, "outputs/anchorweave_tiny/held_out"):
        Path(weights).mkdir(parents=True)
    work = lacking_stages(table, rows)
    assert {recipe: [stage.name for stage in stages] for recipe, stages in work.items()} == {
        "configs/anchorweave_tiny/ablations.yaml": [
            "prepare",
            "precompute",
            "train_average_fusion",
        ]
    }
    refuse_without_weights(rows, table, work)
    # It is noted as done, and what it made is gone.
    with pytest.raises(FileNotFoundError, match="train_average_fusion makes it.*from=train_av"):
        refuse_without_weights(rows, table, {})
    for part in (rows[0].config.model.controller, rows[0].config.model.lora):
        Path(part).mkdir(parents=True)
    assert lacking_stages(table, rows) == {}
    refuse_without_weights(rows, table, {})


def test_stages_are_run_once_and_noted_in_the_folder_of_their_recipe(tmp_path, monkeypatch, capfd):
    code = "import sys; open(sys.argv[2], 'a').write(sys.argv[1])\n"
    (tmp_path / "noted.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    noted = str(tmp_path / "ran")
    stages = [Stage(name, "noted", [name, noted]) for name in "abc"]
    config = RecipeConfig(str(tmp_path / "recipe"), stages)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(asdict(config)))
    run_stages(str(tmp_path / "recipe.yaml"), [stages[1]])
    run_stages(str(tmp_path / "recipe.yaml"), stages[1:])
    assert Path(noted).read_text() == "bc"
    assert json.loads((tmp_path / "recipe" / "recipe.json").read_text()).keys() == {"b", "c"}
    assert "b: done" in capfd.readouterr().out


@pytest.mark.parametrize("name", TABLES)
def test_a_row_differs_from_its_system_in_what_it_names_and_no_more(name):
    table = load_table(name)
    assert (FOLDER / f"{name}.yaml").read_text().startswith(f"# bash scripts/ablate.sh {name}\n")
    for row in planned(name):
        assert row.what.endswith(".") and row.words[0].startswith("config=configs/evaluation/")
        if row.row.config is None:
            assert row.changes.keys() - {"rollout.segments"} == row.row.changes.keys()
            # A protocol of its own is what the row is about.
            assert "rollout.segments" not in row.changes or row.row.protocol != table.protocol
            assert (row.config.row == load_config(EvaluationConfig, row.words[:1]).row) == (
                not row.row.changes
            )


@pytest.mark.parametrize("name", TABLES)
def test_rows_are_the_system_but_for_what_the_table_varies(name):
    rows = planned(name)
    assert set().union(*(row.changes for row in rows)) == VARIED[name]
    whats = [row.changes for row in rows]
    assert all(one != other for i, one in enumerate(whats) for other in whats[:i])
    assert any(not row.changes for row in rows)
    system = load_config(EvaluationConfig, [f"config={load_table(name).system}"])
    assert all(row.config.samples == system.samples for row in rows)


def test_rows_of_one_folder_are_one_row():
    """Of several tables, and of the main one: what a folder holds was made in one way."""
    known: dict[Path, dict] = {}
    mains = sorted((ROOT / "configs" / "evaluation").glob("[rs]*s*/*.yaml"))
    configs = [load_config(EvaluationConfig, [f"config={path}"]) for path in mains]
    configs += [row.config for t in TABLES for row in planned(t)]
    for config in configs:
        values = flat(asdict(config))
        assert known.setdefault(config.folder, values) == values, config.folder


@pytest.mark.parametrize("name", TABLES)
def test_all_that_is_trained_for_a_table_is_made_by_stages_that_it_names(name):
    table = load_table(name)
    stages = [stage for recipe in table.made_by for stage in stages_of(table, recipe)]
    outputs = {stage.name: output_of(stage) for stage in stages}
    read = {path for row in planned(name) for path in row.reads().values()}
    assert all(lies_in(read, out) for out in outputs.values() if out is not None)
    assert {one for one, out in outputs.items() if out is None} <= {"prepare", "precompute"}
    for row in planned(name):
        trained = [path for key, path in row.weights().items() if key != "model.path"]
        assert all(any(lies_in({path}, out) for out in outputs.values()) for path in trained)


def test_there_are_the_tables_that_the_papers_have():
    assert known_tables() == TABLES == sorted(VARIED)


@pytest.mark.parametrize(
    "name, column, numbers",
    [
        ("anchorweave_table2", "PSNR (dB)", [16.31, 19.01, 20.96]),
        ("anchorweave_table2", "SSIM", [0.5345, 0.6145, 0.6727]),
        ("anchorweave_table3", "PSNR (dB)", [19.01, 20.01, 20.96]),
        ("anchorweave_table3", "SSIM", [0.6145, 0.6435, 0.6727]),
        ("context_as_memory_table2", "PSNR of history (dB)", [14.53, 15.97, 17.75, 18.11, 18.19]),
        (
            "context_as_memory_table2",
            "PSNR with true context (dB)",
            [15.72, 17.37, 19.14, 20.22, 20.31],
        ),
        ("context_as_memory_table2", "frames per second", [1.60, 1.40, 1.20, 0.97, 0.79]),
        ("context_as_memory_table1", "PSNR of history (dB)", [14.53, 17.07, 15.70, 18.11]),
        ("context_as_memory_table1", "PSNR with true context (dB)", [15.72, 17.70, 17.63, 20.22]),
        ("context_as_memory_table3", "PSNR of history (dB)", [17.07, 17.47, 18.19, 18.11]),
        ("context_as_memory_table3", "PSNR with true context (dB)", [17.70, 19.17, 20.11, 20.22]),
        ("spatia_table4", "PSNR_C (dB)", [15.55, 17.18, 15.64, 19.38]),
        ("spatia_table4", "SSIM_C", [0.444, 0.500, 0.444, 0.579]),
        ("spatia_table4", "LPIPS_C", [0.379, 0.295, 0.393, 0.213]),
        ("spatia_table4", "camera", [58.81, 80.13, 61.38, 84.47]),
        ("spatia_table5", "PSNR_C (dB)", [17.50, 17.85, 18.48, 19.38]),
        ("spatia_table6", "PSNR_C (dB)", [19.38, 18.23, 18.04]),
        ("spatia_table6", "PSNR_C of Wan2.2 (dB)", [13.00, 11.32, 10.74]),
        ("spatia_table7", "PSNR (dB)", [18.58, 17.10, 16.35, 15.97]),
        ("spmem_ablation", "imaging quality", [0.6485, 0.6384, 0.6701]),
        ("spmem_ablation", "aesthetic quality", [0.5603, 0.5551, 0.5835]),
        ("spmem_ablation", "temporal flickering", [0.7260, 0.6740, 0.7580]),
        ("spmem_ablation", "motion smoothness", [0.9870, 0.9862, 0.9886]),
        ("spmem_ablation", "subject consistency", [0.9326, 0.9331, 0.9359]),
        ("spmem_ablation", "background consistency", [0.9489, 0.9453, 0.9506]),
    ],
)
def test_the_papers_numbers_are_the_papers(name, column, numbers):
    assert [row.paper[column] for row in load_table(name).rows] == numbers


def test_context_rows_ask_for_the_papers_number_of_frames():
    rows = planned("context_as_memory_table2")
    assert [row.config.memory.posed_frames.context for row in rows] == [1, 5, 10, 20, 30]


def test_voxels_and_clips_are_the_papers():
    voxels = [row.config.memory.global_cloud.voxel for row in planned("spatia_table7")]
    assert voxels == [0.01, 0.03, 0.05, 0.07]
    clips = [row.config.rollout.segments for row in planned("spatia_table6")]
    assert clips == [2, 4, 6]


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "table= is none of the tables: anchorweave_figure5, "),
        (["table=table3"], "table=table3 is none of the tables: .*spmem_ablation"),
        (
            ["table=spatia_table7", "rows=[voxel]"],
            "rows of spatia_table7: voxel_1_cm, ",
        ),
        (["table=spatia_table7", "samples=3"], "samples=3: changes the table's videos.*output="),
        (["table=spatia_table7", "frames"], "'frames' is not an override"),
        (["table=spatia_table7", "output=x", "row=all"], "row=all: this is what the rows"),
        (
            ["table=spatia_table7", "output=x", "memory.global_cloud.voxel=1"],
            "voxel=1: this is what the rows",
        ),
        (["table=spatia_table7", "output=x", "memory={kind: posed_frames}"], "what the rows"),
        (["table=spatia_table7", "output=x", "sampling.step=1"], "sampling"),
    ],
)
def test_bad_input_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        main(words)


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda table: table["rows"].append({"name": "k8"}), "row k8: say what it is"),
        (lambda table: table["rows"][0].update(changes={"slots": 5}), "row k1: .*not both"),
        (lambda table: table["rows"][1].update(name="k1"), "rows with different names"),
        (lambda table: table.update(rows=[]), "a table has rows"),
        (lambda table: table["rows"][0]["paper"].update(LPIPS=0.1), "LPIPS.*which no column is"),
        (lambda table: table["columns"].update(SSIM="sim"), "'sim'.*none of our metrics: psnr, "),
        (lambda table: table.update(against="k3"), "against=k3 is none"),
        (lambda table: table.update(claims=[["k1", "k3"]]), "no pair of the rows"),
        (lambda table: table.update(titel="x"), "titel"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path, monkeypatch, edit, message):
    table = yaml.safe_load((FOLDER / "anchorweave_table3.yaml").read_text())
    edit(table)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(table))
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=message):
        load_table("mine")


def test_a_stage_that_its_recipe_does_not_have_is_refused():
    table = load_table("anchorweave_figure5")
    table.made_by["configs/anchorweave_tiny/ablations.yaml"].append("train_all")
    with pytest.raises(ValueError, match="no stage .*train_all.*train_local"):
        stages_of(table, "configs/anchorweave_tiny/ablations.yaml")

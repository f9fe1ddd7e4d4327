import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from anchorweave.datasets.fingerprint import flat
from inference.evaluate import EvaluateConfig
from inference.evaluation.config import EvaluationConfig
from inference.write_recordings import WriteConfig
from training.make_model import MakeModelConfig
from training.options.training import TrainConfig
from training.precompute_latents import PrecomputeConfig
from training.preparing.config import PrepareConfig
from training.recipe import RecipeConfig, Stage, load_config, main
from training.small_models.vae_options import VAETrainConfig
from training.train_text import TextTrainConfig

ROOT = Path(__file__).parent.parent.parent
RECIPES = [
    ROOT / "configs" / f"anchorweave_{name}.yaml"
    for name in (
        "tiny/recipe",
        "tiny/ablations",
        "tiny/systems/recipe",
        "tiny/one_gpu/recipe",
        "tiny_wan/recipe",
    )
]
SCHEMAS = {
    "inference.evaluate": EvaluateConfig,
    "inference.generate": EvaluationConfig,
    "inference.write_recordings": WriteConfig,
    "training.make_model": MakeModelConfig,
    "training.precompute_latents": PrecomputeConfig,
    "training.prepare_clips": PrepareConfig,
    "training.train": TrainConfig,
    "training.train_text": TextTrainConfig,
    "training.train_vae": VAETrainConfig,
}
# Appends a line to a file; then fails where a file says so, or waits to be told to stop.
STAGE = """
import signal, sys, time
from pathlib import Path
name, folder = sys.argv[1], Path(sys.argv[2])
def told(number, frame):
    (folder / "saved").write_text(name)
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
with (folder / "ran").open("a") as file:
    file.write(name + "\\n")
if (folder / f"wait_{name}").exists():
    (folder / "waiting").touch()
    time.sleep(60)
sys.exit(3 if (folder / f"fail_{name}").exists() else 0)
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Three stages that write down that they ran; returns (words of main, folder)."""
    (tmp_path / "noted_stage.py").write_text(STAGE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    stages = [
        {"name": name, "module": "noted_stage", "words": [name, str(tmp_path)]} for name in "abc"
    ]
    config = {"output": str(tmp_path / "out"), "stages": stages}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(config))
    return [f"config={tmp_path / 'recipe.yaml'}"], tmp_path


def ran(folder):
    return (folder / "ran").read_text().split()


def state(folder):
    return json.loads((folder / "out" / "recipe.json").read_text())


def change(folder, edit):
    config = yaml.safe_load((folder / "recipe.yaml").read_text())
    edit(config)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(config))


def test_stages_run_in_order_once(recipe, capfd):
    words, folder = recipe
    main(words)
    assert ran(folder) == ["a", "b", "c"]
    assert all(one["exit"] == 0 and one["seconds"] > 0 for one in state(folder).values())
    assert state(folder)["a"]["began"] <= state(folder)["c"]["began"]
    main(words)
    assert ran(folder) == ["a", "b", "c"]
    assert "all 3 stages are done" in capfd.readouterr().out


def test_a_stage_that_fails_ends_the_recipe_which_goes_on_there(recipe):
    words, folder = recipe
    (folder / "fail_b").touch()
    with pytest.raises(SystemExit, match="b: failed with exit code 3"):
        main(words)
    assert state(folder)["b"]["exit"] == 3 and "c" not in state(folder)
    spent = state(folder)["b"]["seconds"]
    (folder / "fail_b").unlink()
    main(words)
    assert ran(folder) == ["a", "b", "b", "c"]
    # The seconds of both goes.
    assert state(folder)["b"]["seconds"] > 1.2 * spent


def test_a_changed_stage_is_refused_until_it_is_redone(recipe):
    words, folder = recipe
    main(words)
    change(folder, lambda config: config["stages"][1]["words"].append("more"))
    with pytest.raises(ValueError, match="stage b was run with other words.*from=b"):
        main(words)
    main([*words, "from=b"])
    assert ran(folder) == ["a", "b", "c", "b", "c"]
    main(words)
    assert ran(folder) == ["a", "b", "c", "b", "c"]


def test_a_changed_config_file_is_refused_until_its_stage_is_redone(recipe):
    words, folder = recipe
    for name, text in (("base", "steps: 1"), ("b", "base: base.yaml")):
        (folder / f"{name}.yaml").write_text(text + "\n")
    change(
        folder, lambda config: config["stages"][1]["words"].append(f"config={folder / 'b.yaml'}")
    )
    main(words)
    (folder / "base.yaml").write_text("# a remark\nsteps: 1\n")
    main(words)
    (folder / "base.yaml").write_text("steps: 2\n")
    with pytest.raises(
        ValueError, match="stage b: its config file has changed .* run: steps: 1 there, 2 now"
    ):
        main(words)
    main([*words, "from=b"])
    assert ran(folder) == ["a", "b", "c", "b", "c"]


def test_a_stage_whose_inputs_changed_says_which(recipe):
    words, folder = recipe
    model, data = folder / "model", folder / "data"
    (model / "vae").mkdir(parents=True)
    (model / "model_index.json").write_text("{}")
    (model / "vae" / "weights.safetensors").write_bytes(b"one")
    (data / "clip_0").mkdir(parents=True)
    (data / "prepare.yaml").write_text("frames: 5")
    (data / "clip_0" / "clip.json").write_text("{}")
    (folder / "b.yaml").write_text(f"model: {{path: {model}}}\noutput: {folder / 'out'}\n")
    more = [f"config={folder / 'b.yaml'}", f"data.train={data}:3 {folder / 'none'}:1"]
    change(folder, lambda config: config["stages"][1]["words"].extend(more))
    main(words)
    # What later stages add to a data set changes nothing of it.
    (data / "clip_0" / "latents.safetensors").write_bytes(b"latents")
    main(words)
    (model / "vae" / "weights.safetensors").write_bytes(b"two")
    with pytest.raises(ValueError, match=f"stage b: .*: model.path={model} holds something else"):
        main(words)
    (model / "vae" / "weights.safetensors").write_bytes(b"one")
    (data / "clip_1").mkdir()
    (data / "clip_1" / "clip.json").write_text("{}")
    with pytest.raises(ValueError, match=f"data.train={data} holds something else.*from=b"):
        main(words)
    main([*words, "from=b"])
    assert ran(folder) == ["a", "b", "c", "b", "c"]
    shutil.rmtree(data)
    with pytest.raises(ValueError, match=f"data.train={data} is gone"):
        main(words)


def test_two_recipes_do_not_work_in_one_folder(recipe):
    words, folder = recipe
    (folder / "out").mkdir()
    with (folder / "out" / "recipe.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="still running here"):
            main(words)
    main(words)
    assert ran(folder) == ["a", "b", "c"]


def test_a_stage_that_was_not_run_yet_may_change(recipe):
    words, folder = recipe
    (folder / "fail_a").touch()
    with pytest.raises(SystemExit):
        main(words)
    (folder / "fail_a").unlink()
    change(folder, lambda config: config["stages"][2].update(name="d"))
    main(words)
    assert list(state(folder)) == ["a", "b", "d"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_stage_which_saves(recipe, number):
    words, folder = recipe
    (folder / "wait_b").touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "training.recipe", *words], cwd=ROOT, stderr=subprocess.PIPE
    )
    try:
        until = time.monotonic() + 60
        while not (folder / "waiting").exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert f"b: stopped by {number.name}; run the recipe again" in said.decode()
    assert (folder / "saved").read_text() == "b"
    # It ended with exit code 0, but it is not done.
    assert state(folder)["b"]["exit"] == f"stopped by {number.name}"
    (folder / "wait_b").unlink()
    main(words)
    assert ran(folder) == ["a", "b", "b", "c"]


def test_a_stage_beside_runs_while_the_next_ones_do_and_is_waited_for(recipe):
    words, folder = recipe

    def edit(config):
        a, b, c = config["stages"]
        a["beside"] = True
        c["after"] = ["a"]

    change(folder, edit)
    (folder / "wait_a").touch()
    process = subprocess.Popen([sys.executable, "-m", "training.recipe", *words], cwd=ROOT)
    try:
        until = time.monotonic() + 60
        while "b" not in ran_so_far(folder) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1.0)
        # b began while a was at work; c waits for a.
        assert sorted(ran(folder)) == ["a", "b"] and state(folder)["a"]["exit"] is None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert state(folder)["a"]["exit"] == "stopped by SIGTERM" and state(folder)["b"]["exit"] == 0
    (folder / "wait_a").unlink()
    main(words)
    assert ran(folder)[2:] == ["a", "c"]


def ran_so_far(folder):
    return ran(folder) if (folder / "ran").exists() else []


def test_a_stage_that_fails_stops_those_beside_it(recipe):
    words, folder = recipe
    change(folder, lambda config: config["stages"][0].update(beside=True))
    (folder / "wait_a").touch()
    (folder / "fail_b").touch()
    with pytest.raises(SystemExit, match="b: failed with exit code 3"):
        main(words)
    assert state(folder)["a"]["exit"] == "stopped because b failed"
    (folder / "wait_a").unlink()
    (folder / "fail_b").unlink()
    main(words)
    assert sorted(ran(folder)[2:]) == ["a", "b", "c"]


def test_until_a_stage_runs_no_later_one(recipe, capfd):
    words, folder = recipe
    main([*words, "until=b"])
    assert ran(folder) == ["a", "b"]
    assert "the first 2 stages are done" in capfd.readouterr().out
    with pytest.raises(ValueError, match="until=x is not one of the stages: a, b, c"):
        main([*words, "until=x"])


def test_several_processes_work_on_one_stage(recipe):
    words, folder = recipe
    change(folder, lambda config: config["stages"].__delitem__(slice(1, None)))
    main([*words, "output=" + str(folder / "out")])
    change(folder, lambda config: config["stages"][0].update(processes=2))
    with pytest.raises(ValueError, match="torch.distributed.run --nproc_per_node 2"):
        main(words)
    main([*words, "from=a"])
    assert ran(folder) == ["a"] * 3


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda config: config.update(stages=[]), "at least one stage"),
        (lambda config: config["stages"][1].update(name="a"), "two stages are named a"),
        (lambda config: config["stages"][1].pop("module"), "needs a name, a module"),
        (lambda config: config["stages"][1].update(processes=0), "1 or more processes"),
        (lambda config: config["stages"][1].update(modul="x"), "modul"),
        (
            lambda config: config["stages"][1].update(after=["c"]),
            "b must run after c, which does not",
        ),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(recipe, edit, message):
    words, folder = recipe
    change(folder, edit)
    with pytest.raises(ValueError, match=message):
        main(words)
    assert not (folder / "ran").exists()


def test_redoing_from_no_stage_names_the_stages(recipe):
    words, folder = recipe
    with pytest.raises(ValueError, match="from=x is not one of the stages: a, b, c"):
        main([*words, "from=x"])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_stage_of_the_recipes_loads_by_its_own_module(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for stage in load_config(RecipeConfig, [f"config={path}"]).stages:
        load_config(SCHEMAS[stage.module], stage.words)


@pytest.mark.parametrize(
    "path", [RECIPES[0], *RECIPES[-2:]], ids=["two_cores", "one_gpu", "wan_on_two_cores"]
)
def test_what_a_stage_of_the_recipe_reads_was_made_by_one_before(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    made = set()
    for stage in load_config(RecipeConfig, [f"config={path}"]).stages:
        config = flat(load_config(SCHEMAS[stage.module], stage.words))
        output = config.pop("output", None)
        for key, value in config.items():
            if isinstance(value, str) and value.startswith("outputs/"):
                assert any(value == one or value.startswith(f"{one}/") for one in made), (
                    key,
                    value,
                )
        made.add(output)


def test_a_stage_may_stand_for_many(tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        "stages:\n"
        "  - {name: first, module: a}\n"
        '  - {name: "{row}_{errors}", module: b, words: ["r={row}", "e={errors}"],\n'
        "     each: {errors: [0, 3], row: [k1, k4]}, after: [first]}\n"
    )
    stages = load_config(RecipeConfig, [f"config={tmp_path / 'recipe.yaml'}"]).stages
    assert [stage.name for stage in stages] == ["first", "k1_0", "k4_0", "k1_3", "k4_3"]
    assert stages[2].words == ["r=k4", "e=0"] and stages[2].after == ["first"]


@pytest.mark.parametrize(
    "stage, said",
    [
        ({"name": "{row}", "each": {"rows": ["a"]}}, "'row' in braces is none of each=.'rows'"),
        ({"name": "same", "each": {"row": ["a", "b"]}}, "two stages are named same"),
    ],
)
def test_a_stage_that_stands_for_many_says_what_for(stage, said):
    with pytest.raises(ValueError, match=said):
        RecipeConfig(stages=[Stage(module="m", **stage)])

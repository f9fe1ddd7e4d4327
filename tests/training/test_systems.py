"""The four memory systems, each prepared, trained and sampled from its own YAML, at tiny size."""

from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

import inference.generate
from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import flat
from inference.evaluation.cached_row import CachedRow
from inference.evaluation.config import EvaluationConfig
from tests.training.runs import start, train_here
from training import precompute_latents, prepare_clips
from training.options.training import TrainConfig

ROOT = Path(__file__).parents[2]
TRAINED = ROOT / "configs" / "anchorweave_tiny" / "systems"
SAMPLED = ROOT / "configs" / "evaluation" / "systems"
MODEL = ROOT / "pretrained" / "anchorweave-tiny"
# What each of them trains.
PARTS = {
    "anchorweave": {"controller", "backbone_lora"},
    "spatia": {"controller", "references", "backbone_lora"},
    "spmem": {"controller", "references", "backbone_lora"},
    "context_as_memory": {"references", "backbone_lora"},
}
# At a quarter of the pixels that the networks were trained for, and fewer frames.
SMALLER = ["size=[64,96]", "frames=17"]
ROOM = "procedural:seed=900000,frames=33,lap=288,size=64x96"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A clip with what all four systems know of them."""
    folder = tmp_path_factory.mktemp("systems") / "clips"
    prepare = ["clips_per_recording=1", f"source={ROOM}", *SMALLER]
    prepare_clips.main([f"config={TRAINED / 'prepare.yaml'}", f"output={folder}", *prepare])
    encode = [f"config={TRAINED / 'precompute.yaml'}", f"model.path={MODEL}", "model.dtype=float32"]
    precompute_latents.main([*encode, f"data={folder}"])
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    return folder


def yaml_of(name):
    """AnchorWeave's own training is what the others' start from."""
    return TRAINED.parent / "variant.yaml" if name == "anchorweave" else TRAINED / f"{name}.yaml"


def of_yaml(name, clips, output, *more):
    words = [f"config={yaml_of(name)}", f"data.train={clips}", f"model.path={MODEL}"]
    small = ["batch=1", "batch_per_process=1", "steps=1", "precision=fp32", f"output={output}"]
    return load_config(TrainConfig, [*words, *small, *more])


@pytest.mark.parametrize("name", PARTS)
def test_a_system_trains_and_samples(name, clips, tmp_path):
    config = of_yaml(name, clips, tmp_path / "run")
    run = start(config)
    assert {n.split(".")[0] for n in run.parameters} == {
        {"backbone_lora": "backbone"}.get(part, part) for part in PARTS[name]
    }
    train_here(config, run=run)
    saved = tmp_path / "run" / "checkpoints" / "step-00000001"
    assert {p.name for p in saved.iterdir() if p.is_dir()} == {
        f"{part}{suffix}" for part in PARTS[name] for suffix in ("", "_ema")
    }
    keys = {"controller": "controller", "references": "references", "backbone_lora": "lora"}
    trained = [f"model.{keys[part]}={saved / part}_ema" for part in PARTS[name]]
    inference.generate.main(
        [f"config={SAMPLED / name}.yaml", f"source={ROOM},errors=1", f"output={tmp_path}"]
        + ["samples=1", "batch=1", "sampling.steps=1", f"model.path={MODEL}", *SMALLER, *trained]
    )
    row = CachedRow(tmp_path / "partial_revisit" / name)
    (clip,) = row.record()["clips"]
    video, _ = row.read_sample(clip, config_seed())
    assert video.shape == (17, 3, 64, 96) and torch.isfinite(video).all()


def test_spatia_trains_in_two_stages_and_samples(clips, tmp_path):
    noised = "draw.reference_noise=[0,50]"
    first = of_yaml("spatia_two_stages/stage1", clips, tmp_path / "1", noised)
    run = start(first)
    assert {n.split(".")[0] for n in run.parameters} == {"controller", "references"}
    train_here(first, run=run)
    one = tmp_path / "1" / "checkpoints" / "step-00000001"
    kept = [f"model.{part}={one / part}_ema" for part in ("controller", "references")]
    second = of_yaml("spatia_two_stages/stage2", clips, tmp_path / "2", noised, *kept)
    run = start(second)
    assert {n.split(".")[0] for n in run.parameters} == {"backbone"}
    networks = (run.networks.denoiser.controller, run.networks.denoiser.references)
    before = [p.clone() for network in networks for p in network.parameters()]
    train_here(second, run=run)
    after = [p for network in networks for p in network.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    two = tmp_path / "2" / "checkpoints" / "step-00000001"
    saved = {p.name for p in two.iterdir() if p.is_dir()}
    assert saved == {"backbone_lora", "backbone_lora_ema"}
    inference.generate.main(
        [f"config={SAMPLED / 'spatia.yaml'}", f"source={ROOM},errors=1", f"output={tmp_path}"]
        + ["samples=1", "batch=1", "sampling.steps=1", f"model.path={MODEL}", *SMALLER]
        + [f"model.{part}={one / part}_ema" for part in ("controller", "references")]
        + [f"model.lora={two}/backbone_lora_ema"]
    )
    row = CachedRow(tmp_path / "partial_revisit" / "spatia")
    video, _ = row.read_sample(row.record()["clips"][0], config_seed())
    assert video.shape == (17, 3, 64, 96) and torch.isfinite(video).all()


def test_the_second_stage_begins_where_the_first_one_ends():
    whole = load_config(TrainConfig, (), str(TRAINED / "spatia.yaml"))
    one, two = (
        load_config(TrainConfig, (), str(TRAINED / "spatia_two_stages" / f"stage{i}.yaml"))
        for i in (1, 2)
    )
    last = f"{one.output}/checkpoints/step-{one.steps:08d}"
    assert two.model.controller == f"{last}/controller_ema"
    assert two.model.references == f"{last}/references_ema"
    assert one.steps + two.steps == whole.steps
    for stage in (one, two):
        differ = {key for key, value in flat(stage).items() if value != flat(whole)[key]}
        assert all(key.startswith(("output", "steps", "model.")) for key in differ)


def config_seed():
    return load_config(EvaluationConfig, [f"config={SAMPLED / 'anchorweave.yaml'}"]).seeds()[0]


def test_all_share_clips_steps_seed_and_what_is_frozen():
    configs = {name: load_config(TrainConfig, (), str(yaml_of(name))) for name in PARTS}
    base = flat(configs["anchorweave"])
    own = ("output", "data.memory", "draw.recent_only")
    own += tuple(f"model.{name}" for name in ("new_controller", "new_references", "warm_start"))
    for name, config in configs.items():
        differ = {key for key, value in flat(config).items() if value != base[key]}
        assert all(key.startswith(own) or key.startswith("model.reference_") for key in differ)
        text = yaml_of(name).read_text()
        assert len(text.splitlines()) <= 25
        assert text.startswith(
            "# bash scripts/train_with_latent.sh config=configs/anchorweave_tiny"
        )


@pytest.mark.parametrize("name", PARTS)
def test_a_row_reads_what_its_training_saves(name):
    row = load_config(EvaluationConfig, (), str(SAMPLED / f"{name}.yaml"))
    run = load_config(TrainConfig, (), str(yaml_of(name)))
    saved = f"{run.output}/checkpoints/step-{run.steps:08d}"
    named = {
        "controller": row.model.controller,
        "references": row.model.references,
        "backbone_lora": row.model.lora,
    }
    expected = {part: f"{saved}/{part}_ema" for part in PARTS[name]}
    assert {part: path for part, path in named.items() if path} == expected
    assert row.row == name and row.memory.kind == run.data.memory
    prepared = load_config(prepare_clips.PrepareConfig, (), str(TRAINED / "prepare.yaml")).memory
    assert getattr(row.memory, row.memory.kind, None) == getattr(prepared, row.memory.kind, None)

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from omegaconf import OmegaConf

from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import flat
from training.options.training import DataConfig, TrainConfig

FILES = sorted(Path("configs/train").glob("*.yaml"))
LAUNCHERS = sorted(Path("configs/accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_config_loads_and_opens_with_the_command_that_runs_it(path):
    config = load_config(TrainConfig, (), str(path))
    assert config.data.shares()
    first = path.read_text().splitlines()[0]
    assert "bash scripts/train_with_latent.sh" in first
    assert path.name == "tiny.yaml" or f"config={path}" in first


def test_the_faithful_preset_keeps_the_released_values_that_are_right():
    config = load_config(TrainConfig, (), "configs/train/cogvideox_5b_faithful.yaml")
    optimizer = config.optimizer
    assert (optimizer.learning_rate, optimizer.beta1, optimizer.beta2) == (2e-4, 0.9, 0.95)
    assert (optimizer.weight_decay, optimizer.epsilon, optimizer.clip) == (1e-4, 1e-8, 1.0)
    assert (optimizer.schedule, optimizer.cycles, optimizer.warmup) == (
        "cosine_with_restarts",
        1,
        50,
    )
    assert (config.batch, config.seed, config.steps) == (8, 3407, 10000)
    assert (config.model.layers, config.model.heads, config.model.tokens) == (16, 16, "all")
    assert (config.objective.error_in, config.objective.motion_weight) == ("v", 0.2)
    assert config.data.shares() == {"data/dl3dv": 3, "data/realestate10k": 1}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_config_differs_from_its_base_in_what_it_names(path):
    named = OmegaConf.to_container(OmegaConf.load(path))
    if "base" not in named:
        return
    base = flat(load_config(TrainConfig, (), str(path.parent / named.pop("base"))))
    config = flat(load_config(TrainConfig, (), str(path)))
    assert {key for key in base if config[key] != base[key]} <= flat(named).keys()


def test_the_full_size_systems_keep_their_papers_values():
    one, two, spmem, context = (
        load_config(TrainConfig, (), f"configs/train/{name}.yaml")
        for name in ("spatia_stage1", "spatia_stage2", "spmem", "context_as_memory")
    )
    settings = {
        name: (c.data.memory, c.steps, c.batch, c.optimizer.learning_rate, c.model.train_backbone)
        for name, c in {"one": one, "two": two, "spmem": spmem, "context": context}.items()
    }
    assert settings == {
        "one": ("global_cloud", 8000, 64, 1e-5, "frozen"),
        "two": ("global_cloud", 5000, 64, 1e-4, "lora"),
        "spmem": ("map_and_keyframes", 6000, 8, 2e-5, "frozen"),
        "context": ("posed_frames", 10000, 64, 1e-5, "full"),
    }
    assert two.model.lora_rank == 64
    assert not (two.model.train_controller or two.model.train_references)
    # The second stage begins where the first one ends.
    last = f"{one.output}/checkpoints/step-{one.steps:08d}"
    assert two.model.controller == f"{last}/controller_ema"
    assert two.model.references == f"{last}/references_ema"
    assert one.draw == two.draw and one.draw.preceding_noise == (0, 50)
    assert (spmem.model.layers, spmem.model.new_references) == (18, "attention")
    assert (context.model.woven, context.draw.recent_only) == (False, 0.1)


@pytest.mark.parametrize("path", LAUNCHERS, ids=str)
def test_every_launcher_file_is_one_that_accelerate_reads(path):
    config = load_config_from_file(str(path))
    assert config.mixed_precision == "no"
    count = {"cpu": 2, "one": 1, "eight": 8}[path.stem.split("_")[0]]
    assert config.num_processes == count


def test_launcher_files_are_for_what_they_are_called():
    kinds = {p.stem: load_config_from_file(str(p)) for p in LAUNCHERS}
    assert kinds["eight_gpus_ddp"].distributed_type == "MULTI_GPU"
    assert kinds["eight_gpus_zero2"].deepspeed_config["zero_stage"] == 2
    sharded = kinds["eight_gpus_fsdp2"].fsdp_config
    assert sharded["fsdp_version"] == 2
    # One file for every family of backbones: training names the blocks.
    assert sharded["fsdp_auto_wrap_policy"] == "TRANSFORMER_BASED_WRAP"
    assert "fsdp_transformer_layer_cls_to_wrap" not in sharded
    assert kinds["cpu_two_processes"].use_cpu


def test_shares_are_read_from_one_line():
    assert DataConfig(train="a/b").shares() == {"a/b": 1}
    assert DataConfig(train="a:3 b:1").shares() == {"a": 3, "b": 1}


@pytest.mark.parametrize(
    "words, message",
    [
        (["data.train=a:many"], "FOLDER:SHARE"),
        (["data.train="], "names no data set"),
        (["data.train=A:2 A:1"], "names A twice"),
        (["data.train=A/b:2 ./A/b"], "names A/b twice"),
        (["steps=0"], "steps=0 must be at least 1"),
        (["checkpoints.keep=0"], "checkpoints.keep=0"),
        (["model.train_controller=false"], "nothing to train"),
        (
            ["model.controller=a", "model.new_controller=none"],
            "model.controller=null or",
        ),
        (["model.references=a", "model.new_references=tokens"], "model.references=null or model."),
        (["model.new_controller=new"], "new_controller"),
        (["model.train_controller=false", "model.train_backbone=lora"], "CHECKPOINT/controller"),
        (
            ["model.new_controller=none", "model.new_references=tokens"]
            + ["model.train_references=false"],
            "nothing to train",
        ),
        (
            ["model.new_references=attention", "model.train_references=false"],
            "CHECKPOINT/references",
        ),
        (["draw.reference_noise=[50,0]"], "reference_noise"),
        (["draw.preceding_noise=[50,0]"], "preceding_noise"),
        (["strategy=fsdp2", "validation.videos=1"], "samples on every rank by itself"),
        (["stesp=3"], "stesp"),
        (["precision=fp16"], "precision"),
    ],
)
def test_contradictions_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        load_config(TrainConfig, words)


@pytest.mark.parametrize(
    "word",
    ["optimizer.clip=0", "optimizer.warmup=-1", "guard.window=0", "data.workers=-1"]
    + ["optimizer.learning_rate=inf", "optimizer.epsilon=inf", "guard.abnormal=nan"]
    + ["checkpoints.every_minutes=nan", "checkpoints.every_minutes=-1", "timeout_minutes=-30"]
    + ["timeout_minutes=1e300", "optimizer.beta1=1", "average.decay=1", "model.layers=0"],
)
def test_numbers_out_of_range_are_refused_by_name(word):
    with pytest.raises(ValueError, match=word.split("=")[0]):
        load_config(TrainConfig, [word])

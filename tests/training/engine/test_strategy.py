import importlib.util

import pytest
import torch
from torch import nn

from training.engine.strategy import actual_strategy, check_launch, launched_strategy
from training.options.training import LoggingConfig, OptimizerConfig, TrainConfig, ValidationConfig

ZERO2 = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}
FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "WORLD_SIZE": "8"}


@pytest.mark.parametrize(
    "environ, strategy",
    [
        ({}, "single"),
        ({"WORLD_SIZE": "1"}, "single"),
        ({"WORLD_SIZE": "8"}, "ddp"),
        (FSDP2, "fsdp2"),
        ({"ACCELERATE_USE_FSDP": "true"}, "fsdp1"),
        (ZERO2, "zero2"),
    ],
)
def test_what_was_launched_is_read_from_the_launcher(environ, strategy):
    assert launched_strategy(environ) == strategy


@pytest.mark.parametrize(
    "config, environ, message",
    [
        # The released launch: DeepSpeed configured, and ignored for the sake of --multi_gpu.
        (TrainConfig(strategy="zero2"), {"WORLD_SIZE": "8"}, "launched as ddp.*--multi_gpu"),
        (TrainConfig(strategy="single"), {"WORLD_SIZE": "8"}, "launched as ddp"),
        (TrainConfig(), {"ACCELERATE_USE_FSDP": "true"}, "launched as fsdp1"),
        (TrainConfig(), ZERO2 | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, "launched as zero3"),
        (TrainConfig(), ZERO2, "pip install deepspeed"),
        (
            TrainConfig(),
            FSDP2 | {"FSDP_TRANSFORMER_CLS_TO_WRAP": "CogVideoXBlock"},
            "fsdp_transformer_layer_cls_to_wrap=CogVideoXBlock.*remove",
        ),
        (
            TrainConfig(),
            FSDP2 | {"FSDP_AUTO_WRAP_POLICY": "NO_WRAP"},
            "fsdp_auto_wrap_policy=NO_WRAP.*remove",
        ),
        (TrainConfig(validation=ValidationConfig(videos=1)), FSDP2, "validation.videos=0"),
        (TrainConfig(), {"ACCELERATE_MIXED_PRECISION": "bf16"}, "mixed_precision: 'no'"),
        (TrainConfig(batch=4), {"WORLD_SIZE": "8"}, "multiple of 8"),
        (
            TrainConfig(batch=8),
            {"WORLD_SIZE": "2", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "3"},
            "sets 3 accumulation steps, but .* makes 4",
        ),
        (TrainConfig(logging=LoggingConfig(trackers=["comet"])), {}, "got comet"),
        (TrainConfig(logging=LoggingConfig(trackers=["tensorboard"])), {}, "not installed"),
    ],
)
def test_contradictions_are_refused_before_anything_is_loaded(config, environ, message):
    for module in ("deepspeed", "tensorboard", "tensorboardX"):
        if importlib.util.find_spec(module) and module.rstrip("X") in message + str(config):
            pytest.skip(f"{module} is installed")
    with pytest.raises(ValueError, match=message):
        check_launch(config, environ)


@pytest.mark.parametrize("strategy", ["any", "fsdp2"])
def test_what_agrees_is_allowed(strategy):
    by_block = FSDP2 | {"FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}
    for environ in (FSDP2, by_block):
        check_launch(TrainConfig(strategy=strategy, optimizer=OptimizerConfig()), environ)


def test_what_a_model_is_really_in_is_told_by_what_it_has_become():
    assert actual_strategy(nn.Linear(1, 1)) == "single"
    assert not torch.distributed.is_initialized()


def test_one_rank_of_torchrun_is_a_group_of_one():
    assert launched_strategy({"WORLD_SIZE": "1", "LOCAL_RANK": "0"}) == "ddp"
    assert launched_strategy({}) == "single"

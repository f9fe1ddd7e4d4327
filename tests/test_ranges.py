"""Numbers of configs are finite and in range, whoever reads them and wherever they stand."""

import math
from dataclasses import dataclass, field, fields, is_dataclass

import pytest

from anchorweave.config import load_config
from anchorweave.ranges import Range, check_numbers, within
from anchorweave.run_config import RunConfig
from inference.evaluate import EvaluateConfig
from inference.evaluation.config import EvaluationConfig
from training.options.training import TrainConfig
from training.precompute_latents import PrecomputeConfig
from training.preparing.config import PrepareConfig
from training.small_models.vae_options import VAETrainConfig
from training.train_text import TextTrainConfig

CONFIGS = [
    RunConfig,
    EvaluationConfig,
    EvaluateConfig,
    TrainConfig,
    VAETrainConfig,
    TextTrainConfig,
    PrepareConfig,
    PrecomputeConfig,
]


@dataclass(frozen=True)
class Inner:
    share: float = within(0.5, at_least=0, at_most=1)


@dataclass(frozen=True)
class Outer:
    rate: float = within(0.1, above=0, below=2)
    plain: float = 1.0
    pair: tuple[float, float] = within((0.0, 1.0), at_least=0)
    none: float | None = within(None, above=0)
    flag: bool = within(True, at_most=0)
    inner: Inner = field(default_factory=Inner)


def test_what_is_in_range_passes():
    check_numbers(Outer())
    check_numbers(Outer(rate=1.99, pair=(0.0, 9.0), none=0.1, inner=Inner(share=1)))
    assert str(Range(above=0, at_most=1)) == "above 0 and at most 1"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_by_its_key(number):
    for key, config in {
        "rate": Outer(rate=number),
        "plain": Outer(plain=number),
        "pair": Outer(pair=(0.0, number)),
        "none": Outer(none=number),
        "inner.share": Outer(inner=Inner(share=number)),
    }.items():
        with pytest.raises(ValueError, match=f"^{key}={number} must be a finite number"):
            check_numbers(config)


@pytest.mark.parametrize(
    "config, message",
    [
        (Outer(rate=0), "rate=0 must be above 0 and below 2"),
        (Outer(rate=2.0), "rate=2.0 must be above 0 and below 2"),
        (Outer(pair=(1.0, -1.0)), "pair=-1.0 must be at least 0"),
        (Outer(none=0.0), "none=0.0 must be above 0"),
        (Outer(inner=Inner(share=1.01)), "inner.share=1.01 must be at least 0 and at most 1"),
    ],
)
def test_what_is_out_of_range_is_refused_with_the_range(config, message):
    with pytest.raises(ValueError, match=message):
        check_numbers(config)


def numbers(schema, prefix=""):
    """Key of every float of a config and its parts, by their defaults."""
    config = schema() if isinstance(schema, type) else schema
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            yield from numbers(value, f"{prefix}{one.name}.")
        elif isinstance(value, float):
            yield prefix + one.name


@pytest.mark.parametrize("schema", CONFIGS, ids=lambda schema: schema.__name__)
@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_no_command_takes_a_number_that_is_none(schema, number):
    """Every float of every config, in words as a user gives them."""
    keys = list(numbers(schema))
    for key in keys:
        with pytest.raises(ValueError, match=key.rpartition(".")[2]):
            load_config(schema, [f"{key}={number}"])
    assert keys or schema in (PrecomputeConfig, EvaluateConfig)


def bounded(config, prefix=""):
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            yield from bounded(value, f"{prefix}{one.name}.")
        elif one.metadata.get("range"):
            yield prefix + one.name


def test_no_training_takes_a_negative_number():
    for schema in (TrainConfig, VAETrainConfig, TextTrainConfig):
        keys = list(bounded(schema()))
        assert len(keys) > 7
        for key in keys:
            # Of a pair, both.
            pair = isinstance(getattr(schema(), key, None), tuple) or "window" in key.split(".")[-1]
            wrong = "[-1,-1]" if pair and "guard" not in key else "-1"
            with pytest.raises(ValueError, match=key):
                load_config(schema, [f"{key}={wrong}"])

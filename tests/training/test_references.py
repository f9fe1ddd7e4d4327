"""Training with references: tokens beside the video's, or attention to them."""

import pytest
import torch
from safetensors.torch import load_file

from anchorweave.datasets.mixture import open_clips
from anchorweave.models.references.historical_attention import HistoricalAttention
from anchorweave.models.references.reference_networks import load_reference_network
from anchorweave.models.references.reference_tokens import ReferenceTokens
from tests.alike import assert_trained_alike
from tests.training import runs
from tests.training.clips import PROCESS, write_clips
from tests.training.runs import config_of, start, train_here
from training.draws.noise import DrawConfig
from training.engine.batches import DrawnClips, Place
from training.engine.step import batch_losses
from training.options.networks import NetworkConfig
from training.options.training import TrainConfig

# Context-as-Memory trains the whole backbone, Spatia an adapter, SPMem nothing of it.
SYSTEMS = {
    "tokens": {"model__new_references": "tokens", "model__train_backbone": "lora"},
    "attention": {"model__new_references": "attention", "model__reference_interval": 2},
}


data = runs.data


def tensors(folder):
    return {
        f"{path.relative_to(folder)}: {name}": value
        for path in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


@pytest.mark.parametrize("kind", SYSTEMS)
def test_it_trains_saves_and_goes_on_exactly(data, tmp_path, kind):
    changes = SYSTEMS[kind] | {
        "model__new_controller": "none",
        "model__gradient_checkpointing": True,
        "steps": 6,
        "checkpoints__every_steps": 3,
    }
    before = start(config_of(data, tmp_path / "start", **changes)).parameters
    train_here(config_of(data, tmp_path / "whole", **changes))
    saved = tmp_path / "whole" / "checkpoints" / "step-00000006"
    again = load_reference_network(saved / "references")
    assert isinstance(again, {"tokens": ReferenceTokens, "attention": HistoricalAttention}[kind])
    moved = [
        name
        for name, value in again.named_parameters()
        if not torch.equal(value, before[f"references.{name}"])
    ]
    # What stands behind a layer that begins at zero has no gradient in the first step only.
    assert len(moved) == len(list(again.parameters()))
    older = tmp_path / "whole" / "checkpoints" / "step-00000003"
    train_here(config_of(data, tmp_path / "resumed", **changes, resume=older))
    left = tensors(saved)
    right = tensors(tmp_path / "resumed" / "checkpoints" / "step-00000006")
    assert left.keys() == right.keys()
    assert_trained_alike(left, right, 2e-4)


def test_beside_a_controller(data, tmp_path):
    config = config_of(data, tmp_path, steps=2, **SYSTEMS["tokens"])
    train_here(config)
    saved = tmp_path / "checkpoints" / "step-00000002"
    assert {"controller", "references", "backbone_lora"} <= {p.name for p in saved.iterdir()}
    # A second run may start from what the first one saved.
    second = {"model__references": saved / "references", "model__train_backbone": "frozen"}
    second["model__new_references"] = "none"
    run = start(config_of(data, tmp_path / "second", **second))
    name = "references.patch.weight"
    assert torch.equal(
        run.parameters[name], load_reference_network(saved / "references").patch.weight
    )


def test_the_newest_reference_alone_in_a_share_of_samples(data):
    clips = open_clips(data / "clips")

    def counts(share):
        drawn = DrawnClips(
            clips, DrawConfig(recent_only=share, caption_dropout=0.0), PROCESS, seed=0
        )
        samples = [drawn[Place(step, 0, 5)] for step in range(200)]
        return [sample.references.latents.shape[1] for sample in samples], samples[0].references

    whole, first = counts(0.0)
    assert set(whole) == {2}
    some, _ = counts(0.1)
    assert set(some) == {1, 2} and 5 < some.count(1) < 45
    always, only = counts(1.0)
    assert set(always) == {1}
    assert torch.equal(only.latents, first.latents[:, -1:])
    assert torch.equal(only.reference2first, first.reference2first[:, -1:])
    with pytest.raises(ValueError, match="recent_only=1.5 is a share"):
        DrawConfig(recent_only=1.5)


@pytest.mark.parametrize("kind", SYSTEMS)
def test_clips_without_references_train_and_every_weight_gets_a_gradient(data, tmp_path, kind):
    """What DDP without a search for unused weights relies on."""
    write_clips(tmp_path / "clips", count=1)
    assert not len(open_clips(tmp_path / "clips")[0].reference_latents)
    changes = SYSTEMS[kind] | {"model__reference_cameras": False, "steps": 1}
    changes |= {"batch": 1, "batch_per_process": 1, "data__train": tmp_path / "clips"}
    run = start(config_of(data, tmp_path / "run", **changes))
    with run.calls() as calls:
        drawn = next(calls)
    given = (run.networks.process, run.networks.positions, run.config.objective, torch.float32)
    batch_losses(run.model, drawn, *given).total.mean().backward()
    assert [name for name, p in run.parameters.items() if p.grad is None] == []
    assert not run.parameters["references.patch.weight"].grad.any()
    run.optimizer.zero_grad()
    assert train_here(run.config, run=run).step == 1


def test_options_that_leave_nothing_to_train_or_make_no_sense():
    TrainConfig(model=NetworkConfig(new_controller="none", new_references="attention"))
    with pytest.raises(ValueError, match="references=tokens or attention"):
        TrainConfig(model=NetworkConfig(new_controller="none"))
    for option in ("reference_interval", "reference_heads", "lora_rank"):
        with pytest.raises(ValueError, match=f"{option}=0 must be at least 1"):
            TrainConfig(model=NetworkConfig(**{option: 0}))


def test_a_network_that_is_not_there(data, tmp_path):
    config = config_of(data, tmp_path, model__references=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no reference network at"):
        start(config)

import json

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors import safe_open

from anchorweave.models.denoiser import Denoiser
from anchorweave.models.families import FAMILIES
from tests.alike import assert_trained_alike
from tests.models.small import small_anchors, small_backbone, small_call, small_controller
from tests.training.engine.test_sharding import sharded_by_accelerate
from training.engine.sharding import assert_blocks_sharded
from training.engine.weights import (
    LORA_METADATA,
    fill,
    fill_optimizer,
    load_weights,
    optimizer_tensors,
    save_weights,
    whole,
)
from training.networks.build import add_lora, trained


def denoiser(lora=False, full=False, family="cogvideox"):
    backbone = small_backbone(family=family)
    backbone.requires_grad_(full)
    if lora:
        add_lora(backbone, rank=2, alpha=6)
    return Denoiser(backbone, small_controller(backbone))


def randomised(model):
    make = torch.Generator().manual_seed(0)
    return {n: torch.randn(p.shape, generator=make) for n, p in trained(model).items()}


@pytest.mark.parametrize("lora, full", [(False, False), (True, False), (False, True)])
def test_what_is_written_is_read_under_the_same_names(tmp_path, lora, full):
    model = denoiser(lora, full)
    values = randomised(model)
    save_weights(tmp_path, model, values)
    save_weights(tmp_path, model, {n: -v for n, v in values.items()}, "_ema")
    folders = {p.name for p in tmp_path.iterdir() if not p.name.endswith("_ema")}
    backbone = "backbone_lora" if lora else "transformer"
    assert folders == ({"controller", backbone} if lora or full else {"controller"})
    live, average = (load_weights(tmp_path, trained(model), suffix) for suffix in ("", "_ema"))
    assert list(live) == list(average) == list(values)
    assert all(torch.equal(live[n], v) and torch.equal(average[n], -v) for n, v in values.items())


def test_an_adapter_opens_with_diffusers_and_answers_the_same(tmp_path):
    model = denoiser(lora=True)
    for name, value in randomised(model).items():
        fill(trained(model)[name], 0.3 * value)
    save_weights(tmp_path, model, {n: p.detach() for n, p in trained(model).items()})
    other = small_backbone()
    file = tmp_path / "backbone_lora" / "pytorch_lora_weights.safetensors"
    with safe_open(file, "pt") as stored:
        stated = json.loads(stored.metadata()[LORA_METADATA])
        state = {name: stored.get_tensor(name) for name in stored.keys()}
    assert (stated["transformer.r"], stated["transformer.lora_alpha"]) == (2, 6)
    other.load_lora_adapter(state, prefix="transformer", metadata=stated)
    call = small_call(other)
    hidden = torch.cat([call.pop("noisy_latents")] * 2, dim=2)
    features = call.pop("prompt_features")
    with torch.no_grad():
        answers = [
            backbone(hidden, features, call["timestep"], image_rotary_emb=call["positions"])
            for backbone in (model.backbone, other, small_backbone())
        ]
    torch.testing.assert_close(answers[0].sample, answers[1].sample)
    assert not torch.allclose(answers[0].sample, answers[2].sample, atol=1e-3)


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    model = denoiser()
    save_weights(tmp_path, model, randomised(model))
    fewer = dict(list(trained(model).items())[:-1])
    with pytest.raises(ValueError, match=r"has no controller: .* \(1 such weights\)"):
        load_weights(tmp_path, fewer)
    with pytest.raises(ValueError, match="should be .*, got nothing.*another network"):
        load_weights(tmp_path, trained(denoiser(full=True)))


def step_of(model, optimizer, seed=5):
    anchors = small_anchors()
    call = small_call(model.backbone, seed=seed)
    loss = model(image_latents=call["noisy_latents"], anchors=anchors, **call).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def test_an_optimiser_goes_on_from_its_tensors():
    models = [denoiser(), denoiser()]
    optimizers = [torch.optim.AdamW(trained(m).values(), lr=1e-3) for m in models]
    for _ in range(3):
        step_of(models[0], optimizers[0])
    for name, p in trained(models[0]).items():
        fill(trained(models[1])[name], whole(p))
    tensors = optimizer_tensors(optimizers[0], trained(models[0]))
    fill_optimizer(optimizers[1], trained(models[1]), {n: t.clone() for n, t in tensors.items()})
    ours, theirs = (step_of(m, o) for m, o in zip(models, optimizers, strict=True))
    assert ours == pytest.approx(theirs, rel=1e-5)
    ended = [{name: p.detach() for name, p in trained(model).items()} for model in models]
    assert_trained_alike(*ended, 1e-3)


def sharded_runs(rank, folder):
    """Two ranks under FSDP2; starting them costs more than all families together."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for family in FAMILIES:
        sharded_run(family)
    dist.destroy_process_group()


def sharded_run(family):
    """The same steps as alone, tensors put together and taken apart again."""
    alone, shared = denoiser(family=family), denoiser(family=family)
    sharded_by_accelerate(shared)
    assert_blocks_sharded(shared)
    optimizers = [torch.optim.AdamW(trained(m).values(), lr=1e-3) for m in (alone, shared)]
    for step in range(3):
        losses = [
            step_of(m, o, seed=step) for m, o in zip((alone, shared), optimizers, strict=True)
        ]
        assert abs(losses[0] - losses[1]) < 1e-5
    plain, parts = trained(alone), trained(shared)
    assert plain.keys() == parts.keys()
    state = optimizer_tensors(optimizers[1], parts)
    expected = optimizer_tensors(optimizers[0], plain)
    assert state.keys() == expected.keys()
    for name, parameter in parts.items():
        torch.testing.assert_close(whole(parameter), whole(plain[name]), rtol=1e-3, atol=1e-4)
        # Back into its parts: what a rank goes on with.
        fill(parameter, 2 * whole(plain[name]))
        assert torch.equal(whole(parameter), 2 * whole(plain[name]))
    for key, value in expected.items():
        assert state[key].shape == value.shape
    fill_optimizer(optimizers[1], parts, expected)
    again = optimizer_tensors(optimizers[1], parts)
    assert all(torch.equal(again[key], value) for key, value in expected.items())
    step_of(shared, optimizers[1])


def test_weights_that_ranks_share_are_put_together_and_taken_apart(tmp_path):
    mp.spawn(sharded_runs, (str(tmp_path),), nprocs=2)


def test_the_optimisers_count_of_steps_goes_to_the_device_of_its_weights():
    """AdamW's fused kernel wants it there; files are read to the CPU."""
    weight = torch.nn.Parameter(torch.ones(3, device="meta"))
    optimizer = torch.optim.AdamW([weight])
    moments = {"w/step": torch.tensor(4.0), "w/exp_avg": torch.ones(3, device="meta")}
    fill_optimizer(optimizer, {"w": weight}, moments)
    assert optimizer.state[weight]["step"].device == weight.device

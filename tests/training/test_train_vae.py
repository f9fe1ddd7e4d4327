"""Training a small autoencoder, in this process."""

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan
from safetensors.torch import load_file

from anchorweave.config import load_config
from anchorweave.models.backbones import codec_of
from tests.alike import assert_trained_alike
from training.engine.signals import Stop
from training.small_models.vae_options import VAETrainConfig
from training.small_models.vae_run import LOGGED, VAETraining

FINAL = "checkpoints/step-{:08d}"
# Joins pixels two by two ahead of its three levels.
WAN = {"vae.family": "wan", "vae.channels": "[8,16,16]"}


def config_of(output, **changes):
    values = {
        "output": output,
        "size": "[32,32]",
        "clip": 9,
        "crop": "[16,16]",
        "batch": 2,
        "steps": 6,
        "warmup": 1,
        "precision": "fp32",
        "save_every": 2,
        "validate_every": 3,
        "vae.channels": "[8,8,16]",
        "vae.latent_channels": 4,
        "vae.norm_groups": 4,
        **changes,
    }
    return load_config(VAETrainConfig, [f"{key}={value}" for key, value in values.items()])


@pytest.fixture(scope="module")
def frames():
    """Two recordings of smooth colours that move."""
    grid = np.linspace(0, np.pi, 32)
    waves = np.sin(grid[None, :, None] + grid[None, None] + np.arange(10)[:, None, None] / 3)
    video = (127.5 + 127.5 * waves)[:, None].repeat(3, axis=1)
    return [video.astype(np.uint8), (255 - video).astype(np.uint8)]


def train(output, frames, stop=None, **changes):
    training = VAETraining(config_of(output, **changes), frames, frames)
    training.train(stop or Stop())
    return training


def weights(output, step=6):
    folder = output / FINAL.format(step)
    return {
        f"{file.name}: {name}": value
        for file in sorted(folder.glob("*.safetensors"))
        for name, value in load_file(file).items()
    }


@pytest.fixture(scope="module")
def whole(frames, tmp_path_factory):
    output = tmp_path_factory.mktemp("vae")
    train(output, frames)
    return output


class StopAfter(Stop):
    """Asks to stop once it was looked at so many times."""

    def __init__(self, looks):
        self._left = looks

    @property
    def asked_by(self):
        self._left -= 1
        return "SIGTERM" if self._left < 0 else None


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(whole, frames, tmp_path):
    stopped = train(tmp_path, frames, StopAfter(2))
    assert 0 < stopped.step < 6 and not (tmp_path / "vae").exists()
    assert train(tmp_path, frames).step == 6
    assert_trained_alike(weights(tmp_path), weights(whole), 1e-3)
    logged = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").open()]
    assert logged == list(range(6))


def test_a_finished_run_may_be_given_more_steps(frames, tmp_path):
    train(tmp_path, frames, steps=2)
    before = (tmp_path / "vae/diffusion_pytorch_model.safetensors").read_bytes()
    train(tmp_path, frames, steps=2)
    assert (tmp_path / "vae/diffusion_pytorch_model.safetensors").read_bytes() == before
    train(tmp_path, frames, steps=4)
    assert (tmp_path / "vae/diffusion_pytorch_model.safetensors").read_bytes() != before
    assert json.loads((tmp_path / "results.json").read_text())["steps"] == 4


def test_latents_of_what_is_written_have_unit_variance(whole, frames):
    vae = AutoencoderKLCogVideoX.from_pretrained(whole / "vae")
    video = torch.from_numpy(np.stack([f[:9] for f in frames])) / 255.0
    with torch.no_grad():
        assert codec_of(vae).encode(video).std().item() == pytest.approx(1, abs=0.02)
    results = json.loads((whole / "results.json").read_text())
    assert results["scaling_factor"] == pytest.approx(vae.config.scaling_factor)
    assert results["parameters"] == sum(p.numel() for p in vae.parameters())


@pytest.fixture(scope="module")
def wan(frames, tmp_path_factory):
    output = tmp_path_factory.mktemp("wan")
    train(output, frames, steps=2, **WAN)
    return output


def test_latents_of_a_wan_have_unit_variance_in_every_channel(wan, frames):
    vae = AutoencoderKLWan.from_pretrained(wan / "vae")
    codec = codec_of(vae)
    assert (codec.in_time, codec.in_space, codec.channels) == (4, 8, 4)
    video = torch.from_numpy(np.stack([f[:9] for f in frames])) / 255.0
    with torch.no_grad():
        latents = codec.encode(video)
        assert codec.decode(latents).shape == video.shape
    assert latents.std(dim=(0, 1, 3, 4)).tolist() == pytest.approx([1] * 4, abs=0.02)
    assert latents.mean(dim=(0, 1, 3, 4)).tolist() == pytest.approx([0] * 4, abs=0.02)
    results = json.loads((wan / "results.json").read_text())
    assert results["latents_std"] == pytest.approx(vae.config.latents_std)


def test_the_decoder_of_a_wan_trains_on_alone(wan, frames, tmp_path):
    train(tmp_path, frames, steps=2, part="decoder", start=wan / "vae", **WAN)
    before, after = (
        load_file(folder / "vae/diffusion_pytorch_model.safetensors") for folder in (wan, tmp_path)
    )
    moved = {name.split(".")[0] for name in before if not before[name].equal(after[name])}
    assert moved == {"decoder", "post_quant_conv"}
    assert AutoencoderKLWan.from_pretrained(tmp_path / "vae").config.latents_std == pytest.approx(
        AutoencoderKLWan.from_pretrained(wan / "vae").config.latents_std
    )
    with pytest.raises(ValueError, match="holds a AutoencoderKLWan, and vae.family=cogvideox"):
        train(tmp_path / "other", frames, start=wan / "vae")


def test_training_brings_the_reconstruction_nearer(frames, tmp_path):
    training = train(tmp_path, frames, steps=40, learning_rate=5e-3, average=0.5, validate_every=40)
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    first = sum(entry["reconstruction"] for entry in logged[:5])
    assert sum(entry["reconstruction"] for entry in logged[-5:]) < 0.7 * first
    assert logged[-1]["validation/psnr"] == pytest.approx(training.measure(), abs=1e-3)


def test_compiled_steps_are_the_same_steps(frames, tmp_path):
    plain, compiled = (
        VAETraining(config_of(tmp_path / str(on), compile=on), frames, frames)
        for on in (False, True)
    )
    # Compiling itself takes a minute; what is compiled, and that it is called, is what we hold.
    assert plain._autoencoded == plain._through
    assert compiled._autoencoded._torchdynamo_orig_callable == compiled._through


def values_of(training):
    """What one step logs."""
    return dict(zip(LOGGED, training._one_step().tolist(), strict=True))


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_the_divergence_is_weighed(frames, tmp_path, loss):
    def step(kl):
        training = VAETraining(config_of(tmp_path / str(kl), kl=kl, loss=loss), frames, frames)
        return values_of(training)

    without, with_ = step(0.0), step(2.0)
    assert without["loss"] == pytest.approx(without["reconstruction"])
    assert with_["loss"] == pytest.approx(with_["reconstruction"] + 2 * with_["divergence"])


def test_precision_is_what_was_asked_for(frames, tmp_path):
    long, short = (
        values_of(VAETraining(config_of(tmp_path / name, precision=name), frames, frames))
        for name in ("fp32", "bf16")
    )
    assert long["reconstruction"] != short["reconstruction"]
    assert long["reconstruction"] == pytest.approx(short["reconstruction"], rel=0.05)


@pytest.mark.parametrize("wrong", [{"clip": 5}, {"crop": "[18,16]"}])
def test_a_crop_that_does_not_fit_is_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="do not fit"):
        config_of(tmp_path, **wrong)


def test_a_step_that_explodes_ends_the_run(frames, tmp_path):
    training = VAETraining(config_of(tmp_path), frames, frames)
    next(iter(training.parameters.values())).data.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="lower learning_rate"):
        training.train(Stop())


def test_training_may_begin_with_an_autoencoder_of_the_same_architecture(frames, whole, tmp_path):
    start = whole / "vae"
    begun = VAETraining(config_of(tmp_path / "a", start=start), frames, frames)
    stored = AutoencoderKLCogVideoX.from_pretrained(start).state_dict()
    assert all(torch.equal(stored[name], p) for name, p in begun.parameters.items())
    assert begun.measure() == pytest.approx(
        json.loads((whole / "results.json").read_text())["psnr_held_out_db"]
    )
    changes = {"start": start, "vae.latent_channels": 8}
    with pytest.raises(ValueError, match="has latent_channels=4 instead of 8; give vae the same"):
        VAETraining(config_of(tmp_path / "b", **changes), frames, frames)
    with pytest.raises(FileNotFoundError, match="holds none"):
        VAETraining(config_of(tmp_path / "c", start=tmp_path), frames, frames)


def test_a_decoder_trained_alone_leaves_latents_as_they_are(frames, whole, tmp_path):
    training = train(tmp_path, frames, start=whole / "vae", part="decoder", steps=2)
    before, after = (AutoencoderKLCogVideoX.from_pretrained(f / "vae") for f in (whole, tmp_path))
    assert after.config.scaling_factor == before.config.scaling_factor
    for name, value in before.state_dict().items():
        same = torch.equal(value, after.state_dict()[name])
        assert same == name.startswith("encoder."), name
    assert not any(name.startswith("encoder.") for name in training.parameters)
    with pytest.raises(ValueError, match="name a start="):
        config_of(tmp_path, part="decoder")

"""VAETraining: one training run of an autoencoder, with saving and resuming."""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor

from anchorweave.config import load_config, save_config
from anchorweave.datasets.fingerprint import differences, flat
from anchorweave.errors import EndedError
from anchorweave.evaluation.image_metrics import psnr
from anchorweave.files import atomic_write
from anchorweave.models.backbones import codec_of
from anchorweave.models.ema import running_average
from anchorweave.models.precision import computing_dtype
from anchorweave.models.schedules import learning_rate_factor
from anchorweave.models.small.vae import SCALING, fast_convolutions, small_vae, start_vae
from training.draws.noise import sample_generator
from training.engine.checkpoints import CONFIG, PROGRESS, Checkpoints
from training.engine.run import OPTIMIZER
from training.engine.signals import Stop
from training.engine.tracking import LOG, JsonLines
from training.engine.weights import fill
from training.small_models.captured_step import CapturedStep
from training.small_models.frames import random_crops
from training.small_models.muon import MuonAndAdamW
from training.small_models.vae_options import VAETrainConfig

WEIGHTS, AVERAGE = "vae.safetensors", "vae_ema.safetensors"
RESULTS = "results.json"
LOGGED = ("loss", "reconstruction", "divergence", "gradient_norm")


class VAETraining:
    """One run, in one process.

    Args:
        config: its options.
        arrays: uint8 frames [T, 3, H, W] of the recordings to train on.
        held_out: likewise, for validation.
    """

    def __init__(self, config: VAETrainConfig, arrays: list[np.ndarray], held_out: list):
        self.config, self.output = config, Path(config.output)
        self.held_out = torch.from_numpy(np.stack([array[: config.clip] for array in held_out]))
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
        device = self.accelerator.device
        # All of them fit on a GPU; cropping there avoids transfers.
        self.recordings = [torch.from_numpy(array).to(device) for array in arrays]
        self.vae = fast_convolutions(_first_weights(config)).to(device)
        if config.part == "decoder":
            # Wan's encoder ends in its own convolution.
            for part in (self.vae.encoder, getattr(self.vae, "quant_conv", None)):
                if part is not None:
                    part.requires_grad_(False)
        self.parameters = {n: p for n, p in self.vae.named_parameters() if p.requires_grad}
        self.optimizer = MuonAndAdamW(self.parameters, config.learning_rate)
        # Shapes are constant in training, so kernel autotuning pays off; validation, whose shapes
        # vary, is not compiled.
        torch.backends.cudnn.benchmark = True
        self._autoencoded = (
            torch.compile(self._through, dynamic=False) if config.compile else self._through
        )
        self._losses = CapturedStep(self._loss, self.parameters.values())
        self._unread: list[tuple[int, Tensor, float]] = []
        self.average = running_average(self.parameters.values(), config.average)
        self.factor = learning_rate_factor("cosine", config.warmup, config.steps)
        self.checkpoints = Checkpoints(self.output / "checkpoints", 2, self.accelerator)
        self.step = 0
        newest, passed_over = self.checkpoints.newest()
        for line in passed_over:
            print(line, flush=True)
        if newest is not None:
            self._restore(newest)
        self.output.mkdir(parents=True, exist_ok=True)
        save_config(config, self.output / CONFIG)
        self.log = JsonLines(self.output / LOG)
        self.log.rewind(self.step)

    def train(self, stop: Stop) -> None:
        """Runs until `steps` are done, or a signal arrives; ends with a checkpoint either way."""
        config = self.config
        stopped = False
        while self.step < config.steps and not stopped:
            began = time.perf_counter()
            values = self._one_step()
            self._unread.append((self.step, values, time.perf_counter() - began))
            self.step += 1
            last = self.step == config.steps
            validates = last or self.step % config.validate_every == 0
            stopped = stop.asked_by is not None
            saves = last or stopped or self.step % config.save_every == 0
            # Reading values waits for the GPU, so a step is read when the next one is under way.
            self._read(keep=0 if validates or saves else 1, measures=validates)
            if saves:
                self.checkpoints.save(self.step, self._write)
        if self.step == config.steps and not self._finished():
            self._finish()

    @torch.no_grad()
    def measure(self) -> float:
        """PSNR in dB of the averaged weights' reconstruction of the held-out clips."""
        self.average.store(self.parameters.values())
        self.average.copy_to(self.parameters.values())
        self.vae.eval()
        video = self.held_out.float() / 255
        again = torch.cat([self._reconstructed(one[None]) for one in video])
        self.vae.train()
        self.average.restore(self.parameters.values())
        return psnr(again, video)

    def _one_step(self) -> Tensor:
        """The values of `LOGGED`, on the device."""
        config, device = self.config, self.accelerator.device
        generator = sample_generator(config.seed, self.step, 0)
        crops = random_crops(self.recordings, config.batch, config.clip, config.crop, generator)
        signed = crops.float() / 127.5 - 1
        drawn = torch.randn(self._latent_shape(), generator=generator).to(device)
        losses = self._losses(signed, drawn)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step(config.learning_rate * self.factor(self.step))
        self.average.step(self.parameters.values())
        return torch.stack([*losses, norm])

    def _loss(self, signed: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, reconstruction and divergence of one batch."""
        with self._autocast():
            mean, logvar, again = self._autoencoded(signed, drawn)
        error = again.float() - signed
        reconstruction = error.abs().mean() if self.config.loss == "l1" else error.square().mean()
        mean, logvar = mean.float(), logvar.float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return reconstruction + self.config.kl * divergence, reconstruction, divergence

    def _read(self, keep: int, measures: bool = False) -> None:
        """Logs all steps but the last `keep`, and prints some of them.

        Args:
            keep: number of steps left for later.
            measures: whether to validate the weights, at the newest step.

        Raises:
            RuntimeError: a step whose gradient was not finite; nothing was saved since.
        """
        while len(self._unread) > keep:
            step, tensor, seconds = self._unread.pop(0)
            values = dict(zip(LOGGED, tensor.tolist(), strict=True))
            if not math.isfinite(values["gradient_norm"]):
                raise EndedError(
                    f"step {step}: the gradient is {values['gradient_norm']}; lower learning_rate, "
                    f"or use precision=fp32; the last checkpoint is in {self.checkpoints.folder}"
                )
            values["seconds_per_step"] = seconds
            if measures and not self._unread:
                values["validation/psnr"] = self.measure()
            self.log.log(values, step)
            if "validation/psnr" in values or (step + 1) % 50 == 0:
                described = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
                print(f"step {step + 1}/{self.config.steps}: {described}", flush=True)

    def _through(self, signed: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log variance of the latents, and the decoding of a sample from them."""
        posterior = self.vae.encode(signed).latent_dist
        again = self.vae.decode(posterior.mean + posterior.std * drawn).sample
        return posterior.mean, posterior.logvar, again

    def _latent_shape(self) -> tuple[int, ...]:
        config = self.config
        height, width = (side // config.vae.in_space for side in config.crop)
        return config.batch, config.vae.latent_channels, (config.clip + 3) // 4, height, width

    def _reconstructed(self, video: Tensor) -> Tensor:
        with self._autocast():
            codec = codec_of(self.vae)
            latents = codec.encode(video, self.accelerator.device)
            return codec.decode(latents).float().cpu()

    def _autocast(self) -> torch.autocast:
        device = self.accelerator.device.type
        # Cached low-precision weights that outlive a call would break a CUDA graph.
        return torch.autocast(
            device,
            torch.bfloat16,
            enabled=computing_dtype(self.config.precision, device) == torch.bfloat16,
            cache_enabled=device != "cuda",
        )

    def _write(self, folder: Path) -> None:
        whole = {name: p.detach().cpu().contiguous() for name, p in self.parameters.items()}
        save_file(whole, folder / WEIGHTS)
        shadow = [value.cpu().contiguous() for value in self.average.shadow_params]
        save_file(dict(zip(whole, shadow, strict=True)), folder / AVERAGE)
        save_file(self.optimizer.tensors(), folder / OPTIMIZER)
        (folder / PROGRESS).write_text(json.dumps({"step": self.step}) + "\n")
        save_config(self.config, folder / CONFIG)

    def _restore(self, folder: Path) -> None:
        saved = load_config(VAETrainConfig, (), str(folder / CONFIG))
        if (saved.vae, saved.seed) != (self.config.vae, self.config.seed):
            raise ValueError(
                f"{folder} is of a run with {saved.vae} and seed={saved.seed}; go on as it was "
                "begun, or name another output="
            )
        for line in differences(flat(saved), flat(self.config)):
            print(f"  changed since: {line}", flush=True)
        for name, value in load_file(folder / WEIGHTS).items():
            fill(self.parameters[name], value)
        self.optimizer.fill(load_file(folder / OPTIMIZER))
        averaged = load_file(folder / AVERAGE)
        for shadow, name in zip(self.average.shadow_params, self.parameters, strict=True):
            fill(shadow, averaged[name])
        self.step = json.loads((folder / PROGRESS).read_text())["step"]
        self.average.optimization_step = self.step
        print(f"going on from {folder}", flush=True)
        if self.step > self.config.steps:
            raise ValueError(
                f"{folder} has {self.step} steps already, more than steps={self.config.steps}"
            )

    def _finished(self) -> bool:
        results = self.output / RESULTS
        if not results.is_file() or not (self.output / "vae" / "config.json").is_file():
            return False
        try:
            return json.loads(results.read_text())["steps"] == self.step
        except (ValueError, KeyError, TypeError) as error:
            print(f"{results} cannot be read ({error!r}); written again", flush=True)
            return False

    @torch.no_grad()
    def _finish(self) -> None:
        """Writes the averaged weights, scaled so that latents have unit variance."""
        quality = self.measure()
        self.average.copy_to(self.parameters.values())
        self.vae.eval()
        if self.config.part == "all":
            self._fit_scale()
        folder = self.output / "vae"
        with atomic_write(folder) as aside:
            self.vae.save_pretrained(aside)
            # Left by a shorter run that was resumed, or by a crash at this point.
            shutil.rmtree(folder, ignore_errors=True)
        results = {
            "steps": self.step,
            "psnr_held_out_db": quality,
            **{key: self.vae.config[key] for key in SCALING[self.config.vae.family]},
            "parameters": sum(p.numel() for p in self.vae.parameters()),
        }
        with atomic_write(self.output / RESULTS) as aside:
            aside.write_text(json.dumps(results, indent=1) + "\n")
        print(f"{self.output}/vae: {quality:.2f} dB on held-out recordings", flush=True)

    def _fit_scale(self) -> None:
        """Scales latents of the training data to unit variance."""
        codec = codec_of(self.vae)
        with self._autocast():
            latents = [
                codec.encode(recording[None, : self.config.clip] / 255.0)
                for recording in self.recordings[:64]
            ]
        codec.fit_scale(torch.cat(latents))


def _first_weights(config: VAETrainConfig):
    if config.start is None:
        return small_vae(config.vae, config.size, config.seed)
    return start_vae(config.start, config.vae, config.size)

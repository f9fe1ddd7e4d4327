"""Measures a run on clips that it does not train on, on all ranks.

The clips are distributed over the ranks; every rank makes the same number of network calls, because
strategies that shard weights need all ranks in every call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.utils import gather_object
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset

from anchorweave.datasets.training_clip import Samples, TrainingClip
from anchorweave.diffusion.process import NoiseProcess
from anchorweave.evaluation.image_metrics import psnr, ssim
from anchorweave.evaluation.montage import contact_sheet, side_by_side
from anchorweave.files import atomic_write
from anchorweave.models.backbones import codec_of
from anchorweave.models.denoiser import Denoiser
from anchorweave.pipelines import sampler
from anchorweave.video import write_video
from training.draws.anchor_dropout import AnchorDropoutConfig
from training.draws.noise import DrawConfig
from training.engine.batches import DrawnClips, Place
from training.engine.run import Run
from training.engine.step import batch_losses
from training.engine.strategy import compute_in
from training.options.training import TrainConfig, ValidationConfig


class Validation:
    """What to measure, and when.

    Args:
        config: options of the run.
        clips: a map-style data set of `TrainingClip`.
        process: the noise process.
    """

    def __init__(self, config: TrainConfig, clips: Dataset, process: NoiseProcess):
        self.config: ValidationConfig = config.validation
        self.timesteps, self.process = config.draw.timestep, process
        # Without dropout, so that the loss shows how well the anchors are used.
        draw = DrawConfig(
            timestep=config.draw.timestep,
            anchors=AnchorDropoutConfig(frames=0.0, subset=0.0, only_first=0.0),
            image_noise=config.draw.image_noise,
            image_noise_spread=config.draw.image_noise_spread,
            caption_dropout=0.0,
        )
        self.clips = clips
        self.drawn = DrawnClips(clips, draw, process, self.config.seed)

    def rehearse(self, run: Run) -> None:
        """Checks early for everything needed, so that hours of training are not lost."""
        self.loss(run, count=1)
        if self.config.videos:
            networks = run.networks
            sampler(networks.parts, networks.denoiser.backbone, networks.dtype)

    def measure(self, run: Run, step: int, last: bool) -> dict[str, float]:
        """Measures what is due after this step; every rank must call this at the same time.

        Returns:
            `validation/loss` of the live weights, `validation/loss_average` of the EMA weights;
            `validation/psnr` (dB) and `validation/ssim` of sampled videos, with the EMA weights if
            enabled. Empty if nothing is due.
        """
        config, metrics = self.config, {}
        if last or (step + 1) % config.every == 0:
            count = min(self.config.clips, len(self.clips))
            metrics["validation/loss"] = self.loss(run, count)
            if run.average is not None:
                with averaged(run):
                    metrics["validation/loss_average"] = self.loss(run, count)
        if config.videos and (last or (step + 1) % config.videos_every == 0):
            with averaged(run):
                metrics |= self.sample(run, step)
        return metrics

    @torch.no_grad()
    def loss(self, run: Run, count: int) -> float:
        """Mean loss over the first `count` clips, at evenly spaced timesteps with fixed noise."""
        accelerator = run.accelerator
        sums = torch.zeros(2, device=accelerator.device)
        for first in range(0, count, accelerator.num_processes):
            place = first + accelerator.process_index
            # Ranks without a clip of their own repeat one, which is not counted.
            with compute_in(run.config, accelerator.device):
                losses = batch_losses(
                    run.model,
                    self.sample_of(min(place, count - 1), count),
                    run.networks.process,
                    run.networks.positions,
                    run.config.objective,
                    run.networks.dtype,
                )
            counts = float(place < count)
            sums += torch.stack([counts * losses.total[0], torch.tensor(counts).to(sums)])
        total, samples = accelerator.reduce(sums, "sum").tolist()
        return total / samples

    def sample_of(self, place: int, count: int) -> Samples:
        """The sample at one of `count` places; the same in every step and on every rank."""
        at = Place(step=0, place=place, clip=place)
        drawn = self.drawn.drawn(self.clips[place], at)
        # The middle timestep of each of `count` equal parts of the trained range.
        low, high = self.timesteps.low, self.timesteps.high
        share = self.timesteps.shifted(low + (high - low) * (place + 0.5) / count)
        return replace(drawn, timestep=torch.tensor([self.process.timestep_at(share)]))

    @torch.no_grad()
    def sample(self, run: Run, step: int) -> dict[str, float]:
        """Samples videos of the first clips, each rank its own, and writes them next to the truth.

        The truth is decoded by the VAE from the clip's own latents, so that the metrics measure
        only the denoiser; they start with frame 1, because frame 0 is the input.
        """
        accelerator, networks = run.accelerator, run.networks
        # Loaded when needed and released afterwards, so that training has the memory.
        pipe = sampler(networks.parts, networks.denoiser.backbone, networks.dtype)
        pipe.vae.to(accelerator.device)
        codec = codec_of(pipe.vae)
        pipe.set_progress_bar_config(disable=True)
        folder = Path(run.config.output) / "validation" / f"step-{step + 1:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        count = min(self.config.videos, len(self.clips))
        scores = []
        for place in range(accelerator.process_index, count, accelerator.num_processes):
            clip = self.clips[place]
            truth = codec.decode(clip.latents[None]).float().cpu()[0]
            with compute_in(run.config, accelerator.device):
                latents = self._sampled(pipe, networks.denoiser, clip, truth, place)
                video = codec.decode(latents).float().cpu()[0]
            scores.append((psnr(video[1:], truth[1:]), ssim(video[1:], truth[1:])))
            both = side_by_side({"target, through the VAE": truth, "generated": video})
            write_video(folder / f"{place:03d}.mp4", both, self.config.fps)
            with atomic_write(folder / f"{place:03d}.png") as aside:
                contact_sheet(both).save(aside)
        scores = torch.tensor(gather_object(scores)).mean(dim=0).tolist()
        return dict(zip(("validation/psnr", "validation/ssim"), scores, strict=True))

    def _sampled(
        self, pipe, denoiser: Denoiser, clip: TrainingClip, truth: Tensor, place: int
    ) -> Float[Tensor, "1 t C h w"]:
        start, end = self.config.control_window

        def active(timestep: Tensor) -> bool:
            behind = (pipe.scheduler.timesteps == timestep[0]).nonzero()[0].item()
            return start <= behind / len(pipe.scheduler.timesteps) <= end

        # Everything is already encoded, so anchors are woven in here and not by our pipeline.
        anchors = clip.anchors.to(pipe.device, torch.float32)
        references = clip.references.to(pipe.device, torch.float32)
        preceding = clip.preceding
        if preceding is not None:
            preceding = preceding.to(pipe.device, torch.float32)
        options = {"references": references, "preceding": preceding}
        with denoiser.weaving(anchors, active=active, **options):
            latents = pipe(
                image=truth[:1],
                prompt_embeds=clip.prompt_features[None].to(pipe.device, pipe.vae.dtype),
                num_frames=len(truth),
                height=truth.shape[-2],
                width=truth.shape[-1],
                num_inference_steps=self.config.steps,
                # Without guidance: no empty prompt, half the calls, and no scale to choose.
                guidance_scale=1.0,
                generator=torch.Generator().manual_seed(self.config.seed + place),
                output_type="latent",
            ).frames
        return denoiser.family.swap_axes(latents)


@contextmanager
def averaged(run: Run) -> Iterator[None]:
    """Context in which the networks have their EMA weights, if enabled."""
    if run.average is None:
        yield
        return
    parameters = list(run.parameters.values())
    _reshard(run.model)
    run.average.store(parameters)
    run.average.copy_to(parameters)
    try:
        yield
    finally:
        _reshard(run.model)
        run.average.restore(parameters)


def _reshard(model: nn.Module) -> None:
    # After a forward pass without gradients FSDP2 keeps the outermost weights gathered, and the
    # next one would read those instead of the updated shards.
    for module in model.modules():
        if hasattr(module, "reshard"):
            module.reshard()

"""All random draws of one training sample, as a function of (seed, step, place).

The place is the sample's index in the global batch of its step. Nothing depends on the rank, the
number of ranks, or the number of samples per call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.datasets.training_clip import Samples, TrainingClip
from anchorweave.diffusion.process import NoiseProcess
from anchorweave.diffusion.timesteps import TimestepConfig
from training.draws.anchor_dropout import AnchorDropoutConfig, draw_kept, drop_anchors


@dataclass(frozen=True)
class DrawConfig:
    """Random draws for every sample.

    Args:
        timestep: which timesteps are trained.
        anchors: anchor dropout.
        image_noise: mean log noise level on the first frame's latent, in units of that latent; null
            = no noise (released code: -3; the paper does not say).
        image_noise_spread: its standard deviation (released code: 0.5). Drawn per sample; the
            released code draws once per batch.
        caption_dropout: fraction of samples with the empty prompt (not given in the paper; the
            released code has none, so that its controller first sees guidance's empty prompt in
            sampling).
        recent_only: fraction of samples whose only reference is the newest, which is last
            (Context-as-Memory: 0.1); no effect without references.
        reference_noise: range of noise schedule steps to noise references by. One number is drawn
            uniformly per sample, for all of its references; 0 = no noise. Ours: the papers'
            references are clean.
        preceding_noise: likewise for preceding frames, if clips have them. (Spatia: 0 to 50 of
            1000. Those are flow-matching steps: by noise-to-signal ratio, its 50 is CogVideoX's 3.)
        alone: fraction of samples with the controller disabled, including anchors and cameras, so
            that a backbone trained with it also learns to work without (not given in the paper,
            whose backbone is frozen).

    Raises:
        ValueError: a value out of range.
    """

    timestep: TimestepConfig = field(default_factory=TimestepConfig)
    anchors: AnchorDropoutConfig = field(default_factory=AnchorDropoutConfig)
    image_noise: float | None = -3.0
    image_noise_spread: float = 0.5
    caption_dropout: float = 0.1
    recent_only: float = 0.0
    reference_noise: tuple[int, int] = (0, 0)
    preceding_noise: tuple[int, int] = (0, 0)
    alone: float = 0.0

    def __post_init__(self):
        if not 0 <= self.image_noise_spread < math.inf:
            raise ValueError(
                f"image_noise_spread={self.image_noise_spread} is a standard deviation, 0 or more"
            )
        for name in ("caption_dropout", "recent_only", "alone"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is a share, 0 to 1")
        for name in ("reference_noise", "preceding_noise"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(
                    f"{name}={[low, high]} are steps of the noise schedule, from and to, with "
                    "0 <= from <= to"
                )


def sample_generator(seed: int, step: int, place: int) -> torch.Generator:
    """The random generator of one sample, on the CPU.

    Args:
        seed: seed of the run, 0 or more.
        step: the training step, counted from 0.
        place: the sample's index in the global batch of the step, counted from 0.

    Raises:
        ValueError: a negative number.
    """
    # torch uses only 32 bits of a seed, so mix them here instead of truncating.
    mixed = np.random.SeedSequence((seed, step, place)).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(mixed[0]))


def draw(
    clip: TrainingClip,
    config: DrawConfig,
    process: NoiseProcess,
    generator: torch.Generator,
    empty_prompt: Float[Tensor, "S D"] | None = None,
    black: Float[Tensor, "frames C height width"] | None = None,
    place: int = 0,
) -> Samples:
    """A batch of one sample: a clip with its noise, its timestep and dropout applied.

    The order of draws is fixed and each switch consumes its numbers whether it is on or off, so
    that toggling one does not affect the others.

    Args:
        clip: the prepared clip; left unchanged.
        config: what is drawn.
        process: the noise process, on the CPU.
        generator: from `sample_generator`.
        empty_prompt: text features of the empty prompt, if captions are dropped.
        black: the scaled latent of a black video, if hidden anchors show black.
        place: index of the sample in the batch of its step.

    Raises:
        ValueError: the empty prompt or the black latent is required but missing, or has another
            shape than the clip's; references or preceding frames are to be noised by more steps
            than there are.
    """
    if config.caption_dropout:
        _check_empty_prompt(clip, empty_prompt)
    noise = torch.randn(clip.latents.shape, generator=generator)
    image_noise = torch.randn(clip.image_latents.shape, generator=generator)
    level = torch.randn((), generator=generator) * config.image_noise_spread
    if config.image_noise is None:
        image_noise = torch.zeros_like(image_noise)
    else:
        image_noise = image_noise * (config.image_noise + level).exp()
    timestep = process.draw_timestep(config.timestep, generator)
    dropped = torch.rand((), generator=generator).item() < config.caption_dropout
    # Last, because the number of draws depends on their values.
    N, t = clip.anchor_latents.shape[:2]
    kept = draw_kept(config.anchors, N, t, generator)
    clip = drop_anchors(clip, kept.frames, config.anchors, black)
    # Consumes a number only if enabled: the draws of older runs stay the same.
    if config.recent_only and torch.rand((), generator=generator).item() < config.recent_only:
        clip = replace(
            clip,
            reference_latents=clip.reference_latents[-1:],
            reference2first=clip.reference2first[-1:],
        )
    if config.reference_noise[1]:
        noised = _noised(clip.reference_latents, config, "reference_noise", process, generator)
        clip = replace(clip, reference_latents=noised)
    if dropped:
        clip = replace(clip, prompt_features=empty_prompt.to(clip.prompt_features))
    alone = bool(config.alone) and torch.rand((), generator=generator).item() < config.alone
    if config.preceding_noise[1] and clip.preceding is not None:
        (clean,) = clip.preceding.latents
        noised = _noised(clean, config, "preceding_noise", process, generator)
        clip = replace(clip, preceding=replace(clip.preceding, latents=noised[None]))
    return Samples.of(
        clip,
        place=place,
        noise=noise,
        image_noise=image_noise,
        timestep=timestep,
        alone=alone,
    )


def _noised(
    clean: Float[Tensor, "frames C h w"],
    config: DrawConfig,
    name: str,
    process: NoiseProcess,
    generator: torch.Generator,
) -> Float[Tensor, "frames C h w"]:
    """Latents noised by one number of steps, drawn from the range of an option of `config`."""
    low, high = getattr(config, name)
    if high > process.total:
        raise ValueError(
            f"latents are to be noised by up to {high} steps ({name}), but the noise schedule that "
            f"was given has {process.total}"
        )
    steps = int(torch.randint(low, high + 1, (), generator=generator))
    noise = torch.randn(clean.shape, generator=generator)
    if not steps:
        return clean
    timestep = torch.tensor([process.clean_timestep + steps])
    return process.add_noise(clean[None].float(), noise[None], timestep)[0].to(clean)


def _check_empty_prompt(clip: TrainingClip, empty_prompt: Tensor | None) -> None:
    if empty_prompt is None:
        raise ValueError(
            "captions are dropped, but the features of the empty prompt are missing; encode it, or "
            "set caption_dropout=0"
        )
    if empty_prompt.shape != clip.prompt_features.shape:
        raise ValueError(
            f"the empty prompt has features of shape {tuple(empty_prompt.shape)}, clip {clip.name} "
            f"{tuple(clip.prompt_features.shape)}; encode both with one text encoder and length"
        )

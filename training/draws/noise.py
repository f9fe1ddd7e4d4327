"""Everything random of one training sample, as a function of (seed, step, place).

The place is the sample's number in the global batch of its step. Nothing depends on the rank that
computes it, on the number of ranks, or on how many samples share a call.
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
    """What is drawn for every sample.

    Args:
        timestep: which timesteps are trained.
        anchors: which anchors are hidden.
        image_noise: mean of the logarithm of the noise level on the first frame's latent, in the
            units of that latent; null = no noise (released code: -3; the paper does not say).
        image_noise_spread: its standard deviation (released code: 0.5). Every sample draws its own
            level; the released code draws one for a batch.
        caption_dropout: share of samples that see the empty prompt (not given in the paper; the
            released code has none, so that its controller meets the empty prompt of guidance in
            sampling for the first time).
        recent_only: share of samples whose only reference is the newest, which stands last
            (Context-as-Memory: 0.1); without references it changes nothing.
        reference_noise: from and to, steps of the noise schedule that references are noised by. Of
            each sample one number of them is drawn, all as likely, for all of its references; 0 is
            none. Ours: the papers' references are clean.
        preceding_noise: likewise of the frames ahead of the target, where clips have them. (Spatia:
            0 to 50 of 1000. Those are steps of flow matching: in noise over signal its 50 is
            CogVideoX's 3.)
        alone: share of samples in which the controller says nothing, neither of anchors nor of
            cameras, so that a backbone that is trained with it also learns to do without (not
            given in the paper, whose backbone is frozen).

    Raises:
        ValueError: a value outside its range.
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
    """The source of everything random of one sample, on the CPU.

    Args:
        seed: of the run, 0 or more.
        step: the training step, counted from 0.
        place: the sample's number in the global batch of the step, counted from 0.

    Raises:
        ValueError: a negative number.
    """
    # torch keeps 32 bits of a seed, so they are mixed here rather than cut off there.
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
    """A batch of one sample: a clip with its noise, its timestep and parts of it hidden.

    The order is fixed and each switch takes its numbers whether it is on or off, so that turning
    one leaves what the others draw.

    Args:
        clip: as it was prepared; left as it is.
        config: what is drawn.
        process: the noise process, on the CPU.
        generator: `sample_generator`.
        empty_prompt: text features of the empty prompt, where captions are dropped.
        black: the scaled latent of a black video, where hidden anchors show black.
        place: number of the sample in the batch of its step.

    Raises:
        ValueError: the empty prompt or the black latent is called for and missing, or of another
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
    # Last, because how many numbers it takes depends on what it draws.
    N, t = clip.anchor_latents.shape[:2]
    kept = draw_kept(config.anchors, N, t, generator)
    clip = drop_anchors(clip, kept.frames, config.anchors, black)
    # A number is taken only where it is asked for: older runs keep what they drew.
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
    """Latents with noise of one number of steps, drawn between those of an option of `config`."""
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

"""A new CogVideoX or Wan autoencoder of any size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan

from anchorweave.models.model_folder import load_part

# Entries of an autoencoder's configuration that its weights depend on.
ARCHITECTURE = {
    "cogvideox": ("block_out_channels", "latent_channels", "layers_per_block", "norm_num_groups"),
    "wan": ("base_dim", "dim_mult", "z_dim", "num_res_blocks"),
}
# Entries that normalise latents to unit variance.
SCALING = {"cogvideox": ("scaling_factor",), "wan": ("latents_mean", "latents_std")}
# Side of the pixel patches that Wan2.2's autoencoder merges before its first level.
JOINED = 2

VAE = AutoencoderKLCogVideoX | AutoencoderKLWan


@dataclass(frozen=True)
class VAEConfig:
    """Architecture of an autoencoder.

    Args:
        channels: channels of its levels, from full resolution down. n levels compress space by
            2^(n - 1) (CogVideoX) or, because 2x2 pixels are merged first, by 2^n (Wan), and time
            by 4. CogVideoX's own has (128, 256, 256, 512), Wan2.2's (160, 320, 640, 640).
        latent_channels: channels of its latents.
        layers_per_block: residual layers per level (CogVideoX: 3, Wan: 2).
        norm_groups: groups of CogVideoX's group norms (32); must divide all channels. Wan's norms
            have none.
        family: `cogvideox`, or `wan` for Wan2.2's residual kind.

    Raises:
        ValueError: fewer than three levels, or channels that the kind does not support.
    """

    channels: tuple[int, ...] = (32, 48, 64)
    latent_channels: int = 16
    layers_per_block: int = 1
    norm_groups: int = 8
    family: Literal["cogvideox", "wan"] = "cogvideox"

    def __post_init__(self):
        wan, channels = self.family == "wan", self.channels
        if len(channels) < 3:
            raise ValueError(f"vae.channels={channels}: give three levels or more")
        if not wan and any(c % self.norm_groups for c in channels):
            raise ValueError(
                f"vae.channels={channels}: each must be divisible by norm_groups={self.norm_groups}"
            )
        if wan and (channels[-1] != channels[-2] or any(c % channels[0] for c in channels)):
            raise ValueError(
                f"vae.channels={channels}: Wan's levels must be multiples of the first, and the "
                "last as wide as the one before it"
            )

    @property
    def in_space(self) -> int:
        """Pixels per latent pixel along each side."""
        return (JOINED if self.family == "wan" else 1) * 2 ** (len(self.channels) - 1)


def small_vae(config: VAEConfig, size: tuple[int, int], seed: int) -> VAE:
    """An autoencoder with weights that depend only on `seed`.

    Args:
        config: its architecture.
        size: (height, width) that CogVideoX's tiling is configured for; other sizes work too.
        seed: seed of the weights; the global random state is not changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return wan_vae(config) if config.family == "wan" else _small_cogvideox(config, size)


def _small_cogvideox(config: VAEConfig, size: tuple[int, int]) -> AutoencoderKLCogVideoX:
    levels = len(config.channels)
    return AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * levels,
        up_block_types=("CogVideoXUpBlock3D",) * levels,
        block_out_channels=config.channels,
        latent_channels=config.latent_channels,
        layers_per_block=config.layers_per_block,
        norm_num_groups=config.norm_groups,
        sample_height=size[0],
        sample_width=size[1],
    )


def wan_vae(config: VAEConfig) -> AutoencoderKLWan:
    """A Wan autoencoder of the residual kind, with weights from the global random state."""
    base, pixels = config.channels[0], 3 * JOINED**2
    return AutoencoderKLWan(
        base_dim=base,
        decoder_base_dim=base,
        z_dim=config.latent_channels,
        dim_mult=[c // base for c in config.channels],
        num_res_blocks=config.layers_per_block,
        # Time is compressed last.
        temperal_downsample=[False] * (len(config.channels) - 3) + [True, True],
        latents_mean=[0.0] * config.latent_channels,
        latents_std=[1.0] * config.latent_channels,
        is_residual=True,
        in_channels=pixels,
        out_channels=pixels,
        patch_size=JOINED,
        scale_factor_spatial=config.in_space,
    )


def start_vae(folder: str | Path, config: VAEConfig, size: tuple[int, int]) -> VAE:
    """An autoencoder with the weights in `folder`, in float32.

    Args:
        folder: the folder it was saved to.
        config: its architecture.
        size: as in `small_vae`.

    Raises:
        FileNotFoundError: no autoencoder there.
        ValueError: another architecture.
    """
    vae, stored = small_vae(config, size, seed=0), load_part("vae", folder)
    if type(stored) is not type(vae):
        raise ValueError(
            f"{folder} holds a {type(stored).__name__}, and vae.family={config.family} is a "
            f"{type(vae).__name__}"
        )
    differ = []
    for key in ARCHITECTURE[config.family]:
        # Values read from JSON are lists where the config has tuples.
        actual, wanted = (np.asarray(model.config[key]).tolist() for model in (stored, vae))
        if actual != wanted:
            differ.append(f"{key}={actual} instead of {wanted}")
    if differ:
        raise ValueError(f"{folder} has {', '.join(differ)}; give vae the same architecture")
    vae.load_state_dict(stored.state_dict())
    vae.register_to_config(**{key: stored.config[key] for key in SCALING[config.family]})
    return vae


def fast_convolutions(vae: VAE) -> VAE:
    """The same autoencoder with its convolution weights in channels-last memory format."""
    for module in vae.modules():
        if isinstance(module, torch.nn.Conv3d):
            layout = torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=layout)
    return vae

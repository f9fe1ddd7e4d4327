"""A CogVideoX autoencoder of any size, with new weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX

from anchorweave.models.model_folder import load_part

# What of an autoencoder's configuration its weights depend on.
ARCHITECTURE = ("block_out_channels", "latent_channels", "layers_per_block", "norm_num_groups")


@dataclass(frozen=True)
class VAEConfig:
    """Architecture of an autoencoder.

    Args:
        channels: of its levels, from the full resolution down; n levels compress space by
            2^(n - 1), and time by 4. CogVideoX's own has (128, 256, 256, 512).
        latent_channels: of its latents.
        layers_per_block: residual layers of each level (CogVideoX: 3).
        norm_groups: of its group norms (CogVideoX: 32); divides every number of channels.

    Raises:
        ValueError: fewer than three levels, or groups that do not divide them.
    """

    channels: tuple[int, ...] = (32, 48, 64)
    latent_channels: int = 16
    layers_per_block: int = 1
    norm_groups: int = 8

    def __post_init__(self):
        if len(self.channels) < 3 or any(c % self.norm_groups for c in self.channels):
            raise ValueError(
                f"vae.channels={self.channels}: give three levels or more (time is compressed in "
                f"the first two), each divisible by norm_groups={self.norm_groups}"
            )


def small_vae(config: VAEConfig, size: tuple[int, int], seed: int) -> AutoencoderKLCogVideoX:
    """An autoencoder with weights that depend on `seed` alone.

    Args:
        config: its architecture.
        size: (height, width) that its tiling is laid out for; it takes others.
        seed: of the weights; the global random state is left as it was.
    """
    levels = len(config.channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
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


def start_vae(
    folder: str | Path, config: VAEConfig, size: tuple[int, int]
) -> AutoencoderKLCogVideoX:
    """An autoencoder with the weights in `folder`, in float32.

    Args:
        folder: that one was saved to.
        config: its architecture.
        size: as in `small_vae`.

    Raises:
        FileNotFoundError: no autoencoder there.
        ValueError: one of another architecture.
    """
    vae, stored = small_vae(config, size, seed=0), load_part("vae", folder)
    differ = []
    for key in ARCHITECTURE:
        # What is read from JSON is a list where the config has a tuple.
        met, wanted = (np.asarray(one.config[key]).tolist() for one in (stored, vae))
        if met != wanted:
            differ.append(f"{key}={met} and not {wanted}")
    if differ:
        raise ValueError(f"{folder} has {', '.join(differ)}; give vae the same architecture")
    vae.load_state_dict(stored.state_dict())
    vae.register_to_config(scaling_factor=stored.config.scaling_factor)
    return vae


def fast_convolutions(vae: AutoencoderKLCogVideoX) -> AutoencoderKLCogVideoX:
    """The same autoencoder with the weights of its convolutions laid out channels last."""
    for module in vae.modules():
        if isinstance(module, torch.nn.Conv3d):
            layout = torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=layout)
    return vae

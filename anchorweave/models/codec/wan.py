"""Wan's autoencoder: mean and standard deviation per channel, tiles with strides."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLWan
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from anchorweave.models.codec.base import VideoCodec

AXES = ("height", "width")


class WanCodec(VideoCodec):
    """Compresses time by 4 and space by 8, or by 16 if it patchifies pixels first (Wan2.2 5B).

    Latents are scaled in float32 regardless of the autoencoder's precision, as in diffusers'
    pipeline.
    """

    tile_step = 32
    vae: AutoencoderKLWan

    @property
    def in_time(self) -> int:
        """Video frames per latent frame after the first."""
        return self.vae.config.scale_factor_temporal

    @property
    def in_space(self) -> int:
        """Pixels per latent pixel along each side."""
        return self.vae.config.scale_factor_spatial

    @property
    def channels(self) -> int:
        """Channels of its latents."""
        return self.vae.config.z_dim

    def scaled(self, latents: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B t C h w"]:
        """Normalised per channel by mean and standard deviation."""
        mean, scale = self._statistics(latents)
        return ((latents.float() - mean) * scale).to(latents.dtype)

    def unscaled(self, latents: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B t C h w"]:
        """The inverse of `scaled`."""
        mean, scale = self._statistics(latents)
        return (latents.float() / scale + mean).to(latents.dtype)

    def fit_scale(self, latents: Float[Tensor, "B t C h w"]) -> None:
        """Sets mean and standard deviation of every channel."""
        values = self.unscaled(latents.float()).transpose(1, 2).transpose(0, 1).flatten(1)
        self.vae.register_to_config(
            latents_mean=values.mean(dim=1).tolist(), latents_std=values.std(dim=1).tolist()
        )

    def lay_out_tiles(self, tile: int | None = None) -> None:
        """Sets tiles and strides to whole numbers of latents.

        Args:
            tile: side of square tiles, with at least a quarter of overlap; None = the VAE's own,
                enlarged by less than a latent where they do not divide.

        Raises:
            ValueError: a `tile` that is not a multiple of 32.
        """
        step = self.in_space
        if tile is not None and (tile < self.tile_step or tile % self.tile_step):
            raise ValueError(
                f"a tile side must be a multiple of {self.tile_step} pixels, got {tile}"
            )
        for axis in AXES:
            side = tile or getattr(self.vae, f"tile_sample_min_{axis}")
            stride = side * 3 // 4 if tile else getattr(self.vae, f"tile_sample_stride_{axis}")
            side = -(-side // step) * step
            stride = min(max(stride // step, 1) * step, side)
            setattr(self.vae, f"tile_sample_min_{axis}", side)
            setattr(self.vae, f"tile_sample_stride_{axis}", stride)

    def check_tiles(self, size: tuple[int, int]) -> None:
        """Refuses tiles that would change the size of (height, width) frames.

        Raises:
            ValueError: tiles or strides that are not whole numbers of latents, as can be set by
                `vae.enable_tiling` with numbers.
        """
        vae, step = self.vae, self.in_space
        sides = [getattr(vae, f"tile_sample_min_{axis}") for axis in AXES]
        strides = [getattr(vae, f"tile_sample_stride_{axis}") for axis in AXES]
        if not vae.use_tiling or all(side <= tile for side, tile in zip(size, sides, strict=True)):
            return
        whole = all(side % step == 0 for side in (*sides, *strides))
        if whole and all(0 < b <= a for a, b in zip(sides, strides, strict=True)):
            return
        raise ValueError(
            f"the autoencoder's tiles of {sides[0]}x{sides[1]} pixels (height x width) with "
            f"strides of {strides[0]}x{strides[1]} do not divide into its latents of {step} "
            f"pixels; give vae.enable_tiling multiples of {step}, strides no longer than tiles"
        )

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config = self.vae.config
        mean, deviation = (
            torch.tensor(values, device=like.device)[:, None, None]
            for values in (config.latents_mean, config.latents_std)
        )
        # Multiplied by the inverse, to match diffusers bit by bit.
        return mean, 1.0 / deviation

    def _encoded(
        self, signed: Float[Tensor, "B T 3 H W"], generator: torch.Generator | None
    ) -> Float[Tensor, "B t C h w"]:
        posterior = self.vae.encode(rearrange(signed, "b t c h w -> b c t h w")).latent_dist
        latents = posterior.mode() if generator is None else posterior.sample(generator)
        return rearrange(latents, "b c t h w -> b t c h w")

    def _decoded(self, latents: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B T 3 H W"]:
        signed = self.vae.decode(rearrange(latents, "b t c h w -> b c t h w")).sample
        return rearrange(signed, "b c t h w -> b t c h w")

"""CogVideoX's autoencoder: a single scaling factor, and tiles that must divide evenly."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLCogVideoX
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from anchorweave.models.codec import cogvideox_tiling as tiling
from anchorweave.models.codec.base import VideoCodec


class CogVideoXCodec(VideoCodec):
    """Compresses time by 4 and space by 8 (by 4 with three levels).

    If its configuration sets `invert_scale_latents`, the backbone was trained on image latents
    divided by the scaling factor, while video latents are multiplied by it.
    """

    tile_step = tiling.TILE_STEP
    vae: AutoencoderKLCogVideoX

    @property
    def in_time(self) -> int:
        """Video frames per latent frame after the first."""
        return self.vae.config.temporal_compression_ratio

    @property
    def in_space(self) -> int:
        """Pixels per latent pixel along each side."""
        return tiling.spatial_compression(self.vae)

    @property
    def channels(self) -> int:
        """Channels of its latents."""
        return self.vae.config.latent_channels

    def scaled(self, latents: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B t C h w"]:
        """Multiplied by the scaling factor."""
        return latents * self.vae.config.scaling_factor

    def unscaled(self, latents: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B t C h w"]:
        """Divided by the scaling factor."""
        return latents / self.vae.config.scaling_factor

    def fit_scale(self, latents: Float[Tensor, "B t C h w"]) -> None:
        """One factor for all channels."""
        spread = latents.float().std().item() / self.vae.config.scaling_factor
        self.vae.register_to_config(scaling_factor=1 / spread)

    def scaled_image(self, latents: Float[Tensor, "B 1 C h w"]) -> Float[Tensor, "B 1 C h w"]:
        """Multiplied by the factor, or divided if the backbone was trained that way."""
        inverted = self.vae.config.invert_scale_latents
        return self.unscaled(latents) if inverted else self.scaled(latents)

    def lay_out_tiles(self, tile: int | None = None) -> None:
        """See `cogvideox_tiling.lay_out_tiles`."""
        tiling.lay_out_tiles(self.vae, tile)

    def check_tiles(self, size: tuple[int, int]) -> None:
        """See `cogvideox_tiling.check_tiles`."""
        tiling.check_tiles(self.vae, size)

    def _encoded(
        self, signed: Float[Tensor, "B T 3 H W"], generator: torch.Generator | None
    ) -> Float[Tensor, "B t C h w"]:
        posterior = self.vae.encode(rearrange(signed, "b t c h w -> b c t h w")).latent_dist
        latents = posterior.mode() if generator is None else posterior.sample(generator)
        return rearrange(latents, "b c t h w -> b t c h w")

    def _decoded(self, latents: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B T 3 H W"]:
        frames = (latents.shape[1] - 1) * self.in_time + 1
        odd = with_odd_frames(latents)
        signed = self.vae.decode(rearrange(odd, "b t c h w -> b c t h w")).sample
        return rearrange(signed, "b c t h w -> b t c h w")[:, :frames]


def with_odd_frames(latents: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B t_odd C h w"]:
    """Repeats the last frame of the latents if t is even.

    The decoder makes one video frame from the first latent frame only if their number is odd; an
    even number gives 4t frames. Callers drop the frames of the repeated one.
    """
    return latents if latents.shape[1] % 2 else torch.cat([latents, latents[:, -1:]], dim=1)

"""VideoCodec and TextEncoder: convert videos and prompts to a family's network inputs, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anchorweave.models.pixels import checked_pixels


class VideoCodec(ABC):
    """A video autoencoder; the value range [-1, 1] is used only inside.

    Videos are [B, T, 3, H, W] in [0, 1], latents [B, t, C, h, w] and scaled as the backbone expects
    them. The first frame is compressed alone: T = in_time (t - 1) + 1.

    Args:
        vae: a diffusers autoencoder; its slicing and tiling switches are honoured.

    Attributes:
        tile_step: automatically chosen tile sizes are a multiple of this, in pixels.
    """

    tile_step: int

    def __init__(self, vae: nn.Module):
        self.vae = vae

    @property
    @abstractmethod
    def in_time(self) -> int:
        """Video frames per latent frame after the first."""

    @property
    @abstractmethod
    def in_space(self) -> int:
        """Pixels per latent pixel along each side."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels C of its latents."""

    @abstractmethod
    def scaled(self, latents: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B t C h w"]:
        """Scales the VAE's latents for the backbone."""

    @abstractmethod
    def unscaled(self, latents: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B t C h w"]:
        """The inverse of `scaled`."""

    @abstractmethod
    def fit_scale(self, latents: Float[Tensor, "B t C h w"]) -> None:
        """Sets the scale in the VAE's configuration so that latents like these have unit variance.

        Args:
            latents: scaled with the current configuration.
        """

    def scaled_image(self, latents: Float[Tensor, "B 1 C h w"]) -> Float[Tensor, "B 1 C h w"]:
        """Scales the VAE's latents of a first frame for the backbone."""
        return self.scaled(latents)

    @abstractmethod
    def lay_out_tiles(self, tile: int | None = None) -> None:
        """Sets tile sizes that preserve every video size when tiling is enabled.

        Args:
            tile: side of square tiles in pixels; None = the VAE's own, adjusted if needed.

        Raises:
            ValueError: a `tile` that this VAE does not support.
        """

    @abstractmethod
    def check_tiles(self, size: tuple[int, int]) -> None:
        """Refuses tiles that would change the size of (height, width) frames.

        Raises:
            ValueError: tiles that do not divide evenly.
        """

    @abstractmethod
    def _encoded(
        self, signed: Float[Tensor, "B T 3 H W"], generator: torch.Generator | None
    ) -> Float[Tensor, "B t C h w"]:
        """The VAE's latents of pixels in [-1, 1]: the mode, or a sample using a generator."""

    @abstractmethod
    def _decoded(self, latents: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B T 3 H W"]:
        """Pixels in [-1, 1] from the VAE's latents."""

    def tile(self, side: int | None) -> None:
        """Makes it encode in square tiles of `side` pixels; None = without tiling.

        Tiles overlap and are blended, which changes latents slightly and reduces memory with the
        square of the side.

        Raises:
            ValueError: as `lay_out_tiles`.
        """
        if side is None:
            self.vae.disable_tiling()
            return
        self.lay_out_tiles(side)
        self.vae.enable_tiling()

    def shape(
        self, frames: int, size: tuple[int, int], patch_size: int = 1
    ) -> tuple[int, int, int]:
        """Latent (t, h, w) of a video of `frames` T and `size` (height, width) in pixels.

        Args:
            frames: T = in_time k + 1.
            size: both divisible by in_space times `patch_size`.
            patch_size: the backbone's patch size, in latent pixels.

        Raises:
            ValueError: an unsupported length or size; the message gives the nearest valid ones.
        """
        in_time, in_space = self.in_time, self.in_space
        if frames < 1 or (frames - 1) % in_time:
            below = max(frames - 1, 0) // in_time * in_time + 1
            raise ValueError(
                f"{frames} frames do not fit the VAE, which accepts 1 + {in_time}k frames; "
                f"the nearest lengths are {below} and {below + in_time}"
            )
        step = in_space * patch_size
        if any(side < step or side % step for side in size):
            nearest = tuple(max(step, round(side / step) * step) for side in size)
            raise ValueError(
                f"a size of {size[0]}x{size[1]} (height x width) does not fit the networks: both "
                f"sides must be divisible by {step}; the nearest such size is "
                f"{nearest[0]}x{nearest[1]}"
            )
        return (frames - 1) // in_time + 1, size[0] // in_space, size[1] // in_space

    def encode(
        self,
        video: Float[Tensor, "B T 3 H W"],
        device: torch.device | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B t C h w"]:
        """Scaled latents [B, t, C, h, w] of videos, in the VAE's dtype.

        Args:
            video: colours [B, T, 3, H, W] in [0, 1].
            device: where the VAE computes; None = where its weights are (offloaded ones are
                elsewhere).
            generator: for sampling the posterior; None takes its mode.

        Raises:
            ValueError: an unsupported length or size (`shape`), tiles that do not divide
                (`check_tiles`), or values outside [0, 1].
        """
        return self.scaled(self._latents(video, device, generator))

    def encode_first_frame(
        self,
        image: Float[Tensor, "B 3 H W"],
        frames: int,
        device: torch.device | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B t C h w"]:
        """The image condition of an image-to-video backbone: one latent frame, then zeros.

        Args:
            image: first frames [B, 3, H, W] in [0, 1].
            frames: T of the video to generate.
            device: as in `encode`.
            generator: as in `encode`; diffusers samples here.

        Returns:
            [B, t, C, h, w], as input to `Denoiser`.
        """
        t, _, _ = self.shape(frames, tuple(image.shape[-2:]))
        first = self.scaled_image(self._latents(image[:, None], device, generator))
        empty = first.new_zeros(first[:, :1].shape).repeat(1, t - 1, 1, 1, 1)
        return torch.cat([first, empty], dim=1)

    def decode(
        self, latents: Float[Tensor, "B t C h w"], device: torch.device | None = None
    ) -> Float[Tensor, "B T 3 H W"]:
        """Videos [B, T, 3, H, W] in [0, 1] from scaled latents.

        Raises:
            ValueError: tiles that do not divide (`check_tiles`).
        """
        self.check_tiles((latents.shape[-2] * self.in_space, latents.shape[-1] * self.in_space))
        latents = latents.to(device or self.vae.device, self.vae.dtype)
        return (self._decoded(self.unscaled(latents)) / 2 + 0.5).clamp(0, 1)

    def _latents(
        self, video: Tensor, device: torch.device | None, generator: torch.Generator | None
    ) -> Tensor:
        size = (video.shape[-2], video.shape[-1])
        self.shape(video.shape[1], size)
        self.check_tiles(size)
        pixels = checked_pixels(video, "a video to encode")
        signed = pixels.to(device or self.vae.device, self.vae.dtype) * 2 - 1
        return self._encoded(signed, generator)


class TextEncoder(ABC):
    """Encodes prompts into the features that a backbone reads.

    Args:
        tokenizer: a transformers tokenizer.
        encoder: a transformers encoder.
    """

    def __init__(self, tokenizer: object, encoder: nn.Module):
        self.tokenizer, self.encoder = tokenizer, encoder

    @abstractmethod
    def encode(
        self, prompts: Sequence[str], max_length: int, device: torch.device | None = None
    ) -> Float[Tensor, "B S D"]:
        """Text features [B, S, D] of prompts, padded to S = `max_length` tokens.

        Args:
            prompts: B prompts; excess text is truncated, with a warning that quotes it.
            max_length: tokens, including the end token (`BackboneSizes.text_tokens`).
            device: where the encoder computes; None = where its weights are (offloaded ones are
                elsewhere).
        """

"""AnchorWeavePipeline: CogVideoX video generation from an image, a prompt and retrieved anchors."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXTransformer3DModel,
)
from torch import Tensor
from transformers import T5EncoderModel, T5Tokenizer

from anchorweave.models.backbones import codec_of, family_of
from anchorweave.models.codec.cogvideox import with_odd_frames
from anchorweave.models.codec.t5_text import T5Text
from anchorweave.models.controller import WeavingController
from anchorweave.models.denoiser import check_fits
from anchorweave.models.references.reference_networks import ReferenceNetwork
from anchorweave.pipelines.weaving import WeavingMixin


class AnchorWeavePipeline(WeavingMixin, CogVideoXImageToVideoPipeline):
    """CogVideoX image-to-video with retrieved anchors woven in; see `WeavingMixin`.

    Args:
        tokenizer: the T5 tokenizer.
        text_encoder: the T5 encoder.
        vae: the autoencoder; its tile layout is changed so that `vae.enable_tiling()` works at any
            size (`lay_out_tiles`).
        transformer: the backbone, with CogVideoX 1.0's image-to-video architecture.
        controller: weaves in the anchors; made for this backbone.
        scheduler: DDIM or DPM.
        references: the reference network (`REFERENCE_NETWORKS`); None = none.

    Raises:
        ValueError: a CogVideoX 1.5 backbone, one without image input, or a controller made for
            another backbone.
    """

    official = CogVideoXImageToVideoPipeline

    def __init__(
        self,
        tokenizer: T5Tokenizer,
        text_encoder: T5EncoderModel,
        vae: AutoencoderKLCogVideoX,
        transformer: CogVideoXTransformer3DModel,
        controller: WeavingController,
        scheduler: CogVideoXDDIMScheduler | CogVideoXDPMScheduler,
        references: ReferenceNetwork | None = None,
    ):
        codec = codec_of(vae)
        family_of(transformer).check_image_to_video(transformer, codec.channels)
        check_fits(transformer, controller)
        codec.lay_out_tiles()
        super().__init__(tokenizer, text_encoder, vae, transformer, scheduler)
        self.register_modules(controller=controller, references=references)

    @classmethod
    def bare(
        cls,
        vae: AutoencoderKLCogVideoX,
        backbone: CogVideoXTransformer3DModel,
        scheduler: CogVideoXDDIMScheduler | CogVideoXDPMScheduler,
    ) -> CogVideoXImageToVideoPipeline:
        """Diffusers' own pipeline without text encoders."""
        return CogVideoXImageToVideoPipeline(None, None, vae, backbone, scheduler)

    @property
    def guidance_scale(self) -> float | int:
        """Guidance scale of the current step; diffusers' loop reads it in every step."""
        return self._guidance_now(self._guidance_scale)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Frames [B, 3, T, H, W] from scaled latents [B, t, C, h, w], T = 4 (t - 1) + 1."""
        frames = (latents.shape[1] - 1) * self.vae_scale_factor_temporal + 1
        return super().decode_latents(with_odd_frames(latents))[:, :, :frames]

    def _get_t5_prompt_embeds(
        self,
        prompt: str | list[str],
        num_videos_per_prompt: int = 1,
        max_sequence_length: int = 226,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        # Like diffusers' own, which however logs truncation once for the whole batch.
        prompts = [prompt] if isinstance(prompt, str) else prompt
        features = T5Text(self.tokenizer, self.text_encoder).encode(
            prompts, max_sequence_length, device or self._execution_device
        )
        features = features.to(dtype or self.text_encoder.dtype)
        return features.repeat_interleave(num_videos_per_prompt, dim=0)

"""AnchorWeaveWanPipeline: Wan2.2-TI2V video generation from an image, a prompt and anchors."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionModel, T5Tokenizer, UMT5EncoderModel

from anchorweave.models.backbones import codec_of, family_of
from anchorweave.models.codec.umt5_text import UMT5Text
from anchorweave.models.controller import WeavingController
from anchorweave.models.denoiser import check_fits
from anchorweave.models.references.reference_networks import ReferenceNetwork
from anchorweave.pipelines.weaving import WeavingMixin


class _SeveralImages(WanImageToVideoPipeline):
    """Diffusers' pipeline, which accepts one image, extended to one image per prompt."""

    def prepare_latents(
        self,
        image: Tensor,
        batch_size: int,
        num_channels_latents: int = 16,
        height: int = 480,
        width: int = 832,
        num_frames: int = 81,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        last_image: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Noise, the images' latents and a mask of the generated frames; see diffusers."""
        if isinstance(generator, list) and len(generator) != batch_size:
            raise ValueError(
                f"{len(generator)} generators for {batch_size} videos; give one per video"
            )
        if latents is None:
            t = (num_frames - 1) // self.vae_scale_factor_temporal + 1
            scale = self.vae_scale_factor_spatial
            shape = (batch_size, num_channels_latents, t, height // scale, width // scale)
            latents = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
        made = [
            super(_SeveralImages, self).prepare_latents(
                *(single, 1, num_channels_latents, height, width, num_frames, dtype, device),
                latents=latents,
                last_image=last_image,
            )
            for single in image.split(1)
        ]
        conditions = torch.cat([condition for _, condition, _ in made])
        conditions = conditions.repeat_interleave(batch_size // len(conditions), dim=0)
        return made[0][0], conditions, made[0][2]


class AnchorWeaveWanPipeline(WeavingMixin, _SeveralImages):
    """Wan2.2-TI2V with retrieved anchors woven in; see `WeavingMixin`.

    Args:
        tokenizer: the UMT5 tokenizer.
        text_encoder: the UMT5 encoder.
        vae: the autoencoder; its tile layout is changed so that `vae.enable_tiling()` works.
        transformer: the backbone, with the architecture of Wan2.2-TI2V-5B.
        controller: weaves in the anchors; made for this backbone.
        scheduler: UniPC, or another flow-matching one.
        references: the reference network (`REFERENCE_NETWORKS`); None = none.
        transformer_2: None, like all that follow: components of diffusers' pipeline for other Wans.
        image_encoder: None.
        image_processor: None.
        boundary_ratio: None.
        expand_timesteps: True: timesteps are per token.

    Raises:
        ValueError: a backbone with another kind of image input, or a controller made for another.
    """

    _guidance_in_one_call = False
    official = WanImageToVideoPipeline
    _optional_components = ["references", "transformer_2", "image_encoder", "image_processor"]

    def __init__(
        self,
        tokenizer: T5Tokenizer,
        text_encoder: UMT5EncoderModel,
        vae: AutoencoderKLWan,
        transformer: WanTransformer3DModel,
        controller: WeavingController,
        scheduler: UniPCMultistepScheduler | FlowMatchEulerDiscreteScheduler,
        references: ReferenceNetwork | None = None,
        transformer_2: WanTransformer3DModel | None = None,
        image_encoder: CLIPVisionModel | None = None,
        image_processor: CLIPImageProcessor | None = None,
        boundary_ratio: float | None = None,
        expand_timesteps: bool = True,
    ):
        codec, family = codec_of(vae), family_of(transformer)
        second = (transformer_2 is not None,)
        family.check_index({"transformer_2": second, "expand_timesteps": expand_timesteps})
        family.check_image_to_video(transformer, codec.channels)
        family.process(scheduler)
        check_fits(transformer, controller)
        codec.lay_out_tiles()
        super().__init__(
            tokenizer, text_encoder, vae, scheduler, transformer=transformer, expand_timesteps=True
        )
        self.register_modules(controller=controller, references=references)

    @classmethod
    def bare(
        cls,
        vae: AutoencoderKLWan,
        backbone: WanTransformer3DModel,
        scheduler: UniPCMultistepScheduler | FlowMatchEulerDiscreteScheduler,
    ) -> WanImageToVideoPipeline:
        """Diffusers' own pipeline without text encoders."""
        return _SeveralImages(
            None, None, vae, scheduler, transformer=backbone, expand_timesteps=True
        )

    def __call__(self, *arguments, use_dynamic_cfg: bool = False, **named) -> BaseOutput | tuple:
        """Generates one video per prompt; see `WeavingMixin`.

        Raises:
            ValueError: as in `WeavingMixin`; dynamic guidance, which diffusers' Wan loop lacks.
        """
        if use_dynamic_cfg:
            raise ValueError(
                "dynamic guidance is CogVideoX's: diffusers' loop for Wan has one guidance scale "
                "for all steps; set use_dynamic_cfg=False (sampling.dynamic_guidance=false)"
            )
        return super().__call__(*arguments, **named)

    def _get_t5_prompt_embeds(
        self,
        prompt: str | list[str],
        num_videos_per_prompt: int = 1,
        max_sequence_length: int = 512,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        # diffusers' own needs an undeclared package, and truncates silently.
        prompts = [prompt] if isinstance(prompt, str) else prompt
        features = UMT5Text(self.tokenizer, self.text_encoder).encode(
            prompts, max_sequence_length, device or self._execution_device
        )
        features = features.to(dtype or self.text_encoder.dtype)
        return features.repeat_interleave(num_videos_per_prompt, dim=0)

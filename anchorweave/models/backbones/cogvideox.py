"""CogVideoX 1.0 image-to-video: joint text and image tokens, image condition on channels."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDPMScheduler,
    CogVideoXTransformer3DModel,
    SchedulerMixin,
)
from diffusers.models.embeddings import get_3d_rotary_pos_embed, get_3d_sincos_pos_embed
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXBlock
from diffusers.pipelines.cogvideo.pipeline_cogvideox_image2video import (
    get_resize_crop_region_for_grid,
)
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import T5EncoderModel, T5Tokenizer

from anchorweave.diffusion.v_prediction import VPrediction
from anchorweave.models.backbones.base import BackboneCall, Family
from anchorweave.models.backbones.cogvideox_attention import (
    CogVideoXFastProcessor,
    absence_mask,
    speed_up,
)
from anchorweave.models.backbones.sizes import BackboneSizes
from anchorweave.models.codec.cogvideox import CogVideoXCodec
from anchorweave.models.codec.t5_text import T5Text
from anchorweave.models.cross_anchor_attention import Arrangement, CrossAnchorAttnProcessor

# transformer/config.json of CogVideoX-5b-I2V.
PUBLISHED_5B = {
    "num_attention_heads": 48,
    "attention_head_dim": 64,
    "in_channels": 32,
    "out_channels": 16,
    "num_layers": 42,
    "time_embed_dim": 512,
    "text_embed_dim": 4096,
    "sample_width": 90,
    "sample_height": 60,
    "sample_frames": 49,
    "patch_size": 2,
    "temporal_compression_ratio": 4,
    "max_text_seq_length": 226,
    "use_rotary_positional_embeddings": True,
    "use_learned_positional_embeddings": True,
}

Rotary = tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]]


class CogVideoX(Family):
    """CogVideoX 1.0, as CogVideoX-5b-I2V.

    Source: the controller's default layers and heads are the released code's, 16 of 42 and of 48.
    """

    name = "cogvideox"
    parts = {
        "tokenizer": T5Tokenizer,
        "text_encoder": T5EncoderModel,
        "vae": AutoencoderKLCogVideoX,
        "transformer": CogVideoXTransformer3DModel,
        "scheduler": CogVideoXDPMScheduler,
    }
    codec = CogVideoXCodec
    text = T5Text
    published = ("CogVideoX-5b-I2V", PUBLISHED_5B)
    block_arguments = ("encoder_hidden_states", "temb", "image_rotary_emb", "attention_kwargs")

    def blocks(self, backbone: CogVideoXTransformer3DModel) -> nn.ModuleList:
        """Its blocks, which return image and text tokens."""
        return backbone.transformer_blocks

    def sizes_of(self, config: Mapping[str, Any]) -> BackboneSizes:
        """Sizes from a configuration.

        Raises:
            ValueError: a CogVideoX 1.5 backbone.
        """
        if (joined := config.get("patch_size_t")) is not None:
            raise ValueError(
                f"this backbone has patches of {joined} latent frames (patch_size_t, CogVideoX "
                "1.5), which the controller does not support; use CogVideoX 1.0 image-to-video"
            )
        settings = _defaults() | dict(config)
        return BackboneSizes(
            backbone_dim=settings["num_attention_heads"] * settings["attention_head_dim"],
            num_layers=settings["num_layers"],
            num_heads=settings["num_attention_heads"],
            head_dim=settings["attention_head_dim"],
            input_channels=settings["in_channels"],
            latent_channels=settings["out_channels"],
            text_dim=settings["text_embed_dim"],
            text_tokens=settings["max_text_seq_length"],
            time_embed_dim=settings["time_embed_dim"],
            feed_forward=4 * settings["num_attention_heads"] * settings["attention_head_dim"],
            patch_size=settings["patch_size"],
            temporal_compression=settings["temporal_compression_ratio"],
            rotary=settings["use_rotary_positional_embeddings"],
            frames=settings["sample_frames"],
            latent_size=(settings["sample_height"], settings["sample_width"]),
            learned_positions=settings["use_learned_positional_embeddings"],
            spatial_interpolation_scale=settings["spatial_interpolation_scale"],
            temporal_interpolation_scale=settings["temporal_interpolation_scale"],
        )

    def check_image_to_video(self, backbone: CogVideoXTransformer3DModel, channels: int) -> None:
        """Refuses a backbone without such an image input, and those that `sizes_of` refuses."""
        sizes = self.sizes(backbone)
        if sizes.input_channels != 2 * channels:
            raise ValueError(
                f"the backbone expects {sizes.input_channels} channels, but noisy latents and the "
                f"image's have {2 * channels}; use an image-to-video backbone"
            )

    def process(self, scheduler: SchedulerMixin) -> VPrediction:
        """The noise process of a v-prediction scheduler, in float32.

        Raises:
            ValueError: another prediction type. Such schedulers may also have `alphas_cumprod`, but
                these do not apply to the network.
        """
        kind = scheduler.config.get("prediction_type")
        if kind != "v_prediction":
            raise ValueError(
                f"the scheduler {type(scheduler).__name__} has prediction_type={kind}, but "
                "CogVideoX backbones predict v; use the scheduler that came with the backbone"
            )
        return VPrediction(scheduler.alphas_cumprod.float())

    def positions(
        self,
        backbone: CogVideoXTransformer3DModel,
        latent_size: tuple[int, int, int],
        device: torch.device | str | None = None,
    ) -> Rotary | None:
        """Cosines and sines [t * h//2 * w//2, head_dim], as in diffusers' pipeline."""
        config = backbone.config
        if not config.use_rotary_positional_embeddings:
            return None
        t, h, w = latent_size
        patch = config.patch_size
        grid = (h // patch, w // patch)
        crop = get_resize_crop_region_for_grid(
            grid, config.sample_width // patch, config.sample_height // patch
        )
        return get_3d_rotary_pos_embed(config.attention_head_dim, crop, grid, t, device=device)

    def condition(
        self,
        noisy: Float[Tensor, "B t C h w"],
        image: Float[Tensor, "B t C h w"],
        timestep: Int[Tensor, " B"],
    ) -> tuple[Float[Tensor, "B t C2 h w"], Int[Tensor, " B"]]:
        """Noisy and image latents concatenated on channels."""
        return torch.cat([noisy, image], dim=2), timestep

    def predict(
        self,
        backbone: CogVideoXTransformer3DModel,
        noisy: Float[Tensor, "B t C h w"],
        image: Float[Tensor, "B t C h w"],
        text: Float[Tensor, "B S text_dim"],
        timestep: Int[Tensor, " B"],
        positions: Rotary | None,
    ) -> Float[Tensor, "B t C h w"]:
        """V."""
        latents, timestep = self.condition(noisy, image, timestep)
        return backbone(
            hidden_states=latents,
            encoder_hidden_states=text,
            timestep=timestep,
            image_rotary_emb=positions,
            return_dict=False,
        )[0]

    def read_call(
        self, backbone: CogVideoXTransformer3DModel, args: tuple, kwargs: Mapping[str, Any]
    ) -> BackboneCall:
        """Parses a call; the image channels follow the noisy ones."""
        arguments = inspect.signature(backbone.forward).bind(*args, **kwargs).arguments
        return BackboneCall(
            arguments["hidden_states"][:, :, : backbone.config.out_channels],
            arguments["encoder_hidden_states"],
            arguments["timestep"],
            arguments.get("image_rotary_emb"),
        )

    def speed_up(self, backbone: CogVideoXTransformer3DModel) -> None:
        """Installs a faster rotation of queries and keys."""
        speed_up(backbone.transformer_blocks)

    def use_attention(self, backbone: CogVideoXTransformer3DModel, backend: str) -> None:
        """Uses our processor, because diffusers' only supports torch's attention."""
        backbone.set_attn_processor(CogVideoXFastProcessor())
        super().use_attention(backbone, backend)

    def tokens(self, answer: tuple[Tensor, Tensor]) -> Float[Tensor, "B L D"]:
        """The image tokens, the first of the pair."""
        return answer[0]

    def with_tokens(
        self, answer: tuple[Tensor, Tensor], tokens: Float[Tensor, "B L D"]
    ) -> tuple[Tensor, Tensor]:
        """The same text with other image tokens."""
        return tokens, answer[1]

    def controller_share(self, sizes: BackboneSizes) -> tuple[int, int]:
        """The released fraction: 16 of 42 layers, 16 of 48 heads."""
        return max(round(sizes.num_layers * 16 / 42), 1), max(round(sizes.num_heads / 3), 1)

    def controller_block(
        self, dim: int, num_heads: int, head_dim: int, time_embed_dim: int, feed_forward: int
    ) -> CogVideoXBlock:
        """A block of the same kind, whose attention supports a rotation per row."""
        block = CogVideoXBlock(
            dim,
            num_heads,
            head_dim,
            time_embed_dim,
            attention_bias=True,
            ff_inner_dim=feed_forward,
        )
        block.attn1.set_processor(CrossAnchorAttnProcessor())
        return block

    def controller_positions(
        self, config: Mapping[str, Any], grid: tuple[int, int, int], device: torch.device
    ) -> Float[Tensor, "L dim"]:
        """Fixed sin-cos positions, which the released controller uses besides rotary ones."""
        frames, rows, columns = grid
        return get_3d_sincos_pos_embed(
            config["num_heads"] * config["head_dim"],
            (columns, rows),
            frames,
            config["spatial_interpolation_scale"],
            config["temporal_interpolation_scale"],
            device=device,
        ).flatten(0, 1)

    def arranged(
        self, place: Arrangement, positions: Rotary | None, text_tokens: int
    ) -> tuple[Float[Tensor, "_ 1 S_plus_M half_d 2"] | None, dict[str, tuple[int, ...] | None]]:
        """Rotations of text and anchor tokens, and the lengths of rows if they differ."""
        table = None if positions is None else place.rotary(positions, text_tokens)
        return table, {"lengths": place.lengths}

    def sources(self, backbone: CogVideoXTransformer3DModel) -> dict[str, nn.Module]:
        """Text projection and time embedding."""
        return {
            "text_proj": backbone.patch_embed.text_proj,
            "time_embedding": backbone.time_embedding,
        }

    def patch(
        self, backbone: CogVideoXTransformer3DModel
    ) -> tuple[Float[Tensor, "D C p p"], Float[Tensor, " D"]]:
        """For the noisy channels; the others are for image latents, which only the video has."""
        projection = backbone.patch_embed.proj
        return projection.weight[:, : backbone.config.out_channels], projection.bias

    def first_frame_positions(
        self, backbone: CogVideoXTransformer3DModel, height: int, width: int
    ) -> Float[Tensor, "L D"] | None:
        """Sin-cos or learned positions; None if positions are rotary only."""
        embed = backbone.patch_embed
        if not (embed.use_positional_embeddings or embed.use_learned_positional_embeddings):
            return None
        table = embed.pos_embedding
        if (height, width) != (embed.sample_height, embed.sample_width):
            table = embed._get_positional_embeddings(height, width, 1)
        tokens = height * width // embed.patch_size**2
        return table[0, embed.max_text_seq_length :][:tokens]

    def rotary_in(self, arguments: Mapping[str, Any]) -> Rotary | None:
        """In the form of the pipeline."""
        return arguments.get("image_rotary_emb")

    def rotary_arguments(self, rotary: Rotary) -> dict[str, Rotary]:
        """In the form of the pipeline."""
        return {"image_rotary_emb": rotary}

    def time_channels(self, head_dim: int) -> int:
        """A quarter."""
        return head_dim // 4

    def mask_arguments(
        self,
        block: nn.Module,
        arguments: Mapping[str, Any],
        tokens: Float[Tensor, "B L D"],
        present: Bool[Tensor, "B L"],
    ) -> dict[str, Any]:
        """Adds an additive attention mask to the existing keyword arguments."""
        mask = absence_mask(tokens, arguments["encoder_hidden_states"].shape[1], present)
        others = arguments.get("attention_kwargs") or {}
        return {"attention_kwargs": {**others, "attention_mask": mask}}


def _defaults() -> dict[str, Any]:
    """Default values of the entries that a `config.json` omits."""
    arguments = inspect.signature(CogVideoXTransformer3DModel.__init__).parameters
    return {name: parameter.default for name, parameter in arguments.items()}

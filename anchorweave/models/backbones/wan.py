"""Wan2.2-TI2V: cross-attention to text, the clean image as the first latent frame."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    SchedulerMixin,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)
from diffusers.models.embeddings import PixArtAlphaTextProjection
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from transformers import T5Tokenizer, UMT5EncoderModel

from anchorweave.diffusion.flow_matching import FlowMatching
from anchorweave.models.backbones.base import BackboneCall, Family
from anchorweave.models.backbones.sizes import BackboneSizes
from anchorweave.models.backbones.wan_block import (
    TimeModulation,
    WanControllerBlock,
    let_blocks_be_masked,
)
from anchorweave.models.backbones.wan_config import FITS, PATCH, PUBLISHED_5B, sizes_of
from anchorweave.models.codec.umt5_text import UMT5Text
from anchorweave.models.codec.wan import WanCodec
from anchorweave.models.cross_anchor_attention import Arrangement

Rotary = tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]]


class Wan(Family):
    """Wan2.2-TI2V, such as Wan2.2-TI2V-5B: timesteps are per token, those of the first frame 0.

    Source: a controller has a third of the layers and heads, 10 of 30 and 8 of 24, close to
    CogVideoX's released fractions; AnchorWeave's own for Wan are not published.
    """

    name = "wan"
    parts = {
        "tokenizer": T5Tokenizer,
        "text_encoder": UMT5EncoderModel,
        "vae": AutoencoderKLWan,
        "transformer": WanTransformer3DModel,
        "scheduler": UniPCMultistepScheduler,
    }
    codec = WanCodec
    text = UMT5Text
    block_arguments = ("encoder_hidden_states", "temb", "rotary_emb")
    published = ("Wan2.2-TI2V-5B", PUBLISHED_5B)
    unfit = {
        "WanVACETransformer3DModel": "Wan-VACE has no timestep per token, which an image as the "
        f"first frame requires; {FITS}",
    }

    def blocks(self, backbone: WanTransformer3DModel) -> nn.ModuleList:
        """Its blocks, which return image tokens."""
        return backbone.blocks

    def sizes_of(self, config: Mapping[str, Any]) -> BackboneSizes:
        """Sizes from a configuration.

        Raises:
            ValueError: patches other than one frame of 2x2.
        """
        return sizes_of(config)

    def check_index(self, index: Mapping[str, Any]) -> None:
        """Refuses models of two transformers, and those without a timestep per token."""
        if any(index.get("transformer_2") or ()):
            raise ValueError(
                "it has two transformers, for high and low noise (transformer_2: "
                f"Wan2.2-A14B), but a controller supports only one; {FITS}"
            )
        if index.get("_class_name") != self.pipeline and not index.get("expand_timesteps"):
            raise ValueError(
                "it is a Wan without a timestep per token (no expand_timesteps in its "
                f"model_index.json), so its first frame cannot be a clean image; {FITS}"
            )

    def check_image_to_video(self, backbone: WanTransformer3DModel, channels: int) -> None:
        """Refuses a backbone with another image input, and those that `sizes_of` refuses."""
        sizes, config = self.sizes(backbone), backbone.config
        counts = (sizes.input_channels, sizes.latent_channels)
        if counts != (channels, channels) or config.image_dim is not None:
            raise ValueError(
                f"the backbone expects {counts[0]} channels and predicts {counts[1]}, the "
                f"autoencoder's latents have {channels}; image-to-video with the image as the "
                f"first frame needs the same number of each, and no image encoder; {FITS}"
            )

    def process(self, scheduler: SchedulerMixin) -> FlowMatching:
        """Flow matching, for a scheduler that uses it.

        Raises:
            ValueError: another prediction type.
        """
        config, kind = scheduler.config, type(scheduler).__name__
        flow = config.get("use_flow_sigmas") and config.get("prediction_type") == "flow_prediction"
        if not (flow or kind.startswith("FlowMatch")):
            raise ValueError(
                f"the scheduler {kind} has prediction_type={config.get('prediction_type')}, "
                "but Wan backbones predict a flow; use the scheduler that came with the backbone "
                "(prediction_type=flow_prediction, use_flow_sigmas=true)"
            )
        return FlowMatching(config.num_train_timesteps)

    def positions(
        self,
        backbone: WanTransformer3DModel,
        latent_size: tuple[int, int, int],
        device: torch.device | str | None = None,
    ) -> Rotary:
        """Cosines and sines [t * h//2 * w//2, head_dim]; its calls compute them internally."""
        like = torch.empty(1, 1, *latent_size, device="meta")
        cos, sin = (table[0, :, 0] for table in backbone.rope(like))
        return cos.to(device), sin.to(device)

    def swap_axes(self, latents: Float[Tensor, "B _ _ h w"]) -> Float[Tensor, "B _ _ h w"]:
        """Swaps channels and frames: diffusers' Wan is channels first."""
        return latents.transpose(1, 2)

    def condition(
        self,
        noisy: Float[Tensor, "B t C h w"],
        image: Float[Tensor, "B t C h w"],
        timestep: Shaped[Tensor, " B"],
    ) -> tuple[Float[Tensor, "B C t h w"], Shaped[Tensor, "B L"]]:
        """Replaces the first frame by the image latent, at timestep 0."""
        t, (h, w) = noisy.shape[1], noisy.shape[-2:]
        latents = torch.cat([image[:, :1].to(noisy), noisy[:, 1:]], dim=1)
        per_frame = (h // PATCH) * (w // PATCH)
        times = timestep[:, None].repeat(1, t * per_frame)
        times[:, :per_frame] = 0
        return self.swap_axes(latents), times

    def predict(
        self,
        backbone: WanTransformer3DModel,
        noisy: Float[Tensor, "B t C h w"],
        image: Float[Tensor, "B t C h w"],
        text: Float[Tensor, "B S text_dim"],
        timestep: Shaped[Tensor, " B"],
        positions: Rotary | None,
    ) -> Float[Tensor, "B t C h w"]:
        """The flow from clean latents to noise; undefined for the first frame."""
        latents, times = self.condition(noisy, image, timestep)
        predicted = backbone(
            hidden_states=latents, timestep=times, encoder_hidden_states=text, return_dict=False
        )[0]
        return self.swap_axes(predicted)

    def read_call(
        self, backbone: WanTransformer3DModel, args: tuple, kwargs: Mapping[str, Any]
    ) -> BackboneCall:
        """Parses a call; the first frame is the image, the timestep that of the other frames."""
        arguments = inspect.signature(backbone.forward).bind(*args, **kwargs).arguments
        latents, timestep = arguments["hidden_states"], arguments["timestep"]
        cos, sin = (table[0, :, 0] for table in backbone.rope(latents))
        return BackboneCall(
            self.swap_axes(latents),
            arguments["encoder_hidden_states"],
            timestep[:, -1] if timestep.ndim == 2 else timestep,
            (cos, sin),
        )

    def controller_share(self, sizes: BackboneSizes) -> tuple[int, int]:
        """A third of its layers and of its heads."""
        return max(round(sizes.num_layers / 3), 1), max(round(sizes.num_heads / 3), 1)

    def controller_block(
        self, dim: int, num_heads: int, head_dim: int, time_embed_dim: int, feed_forward: int
    ) -> WanControllerBlock:
        """A block of the same kind, whose attention supports a rotation and mask per row."""
        return WanControllerBlock(dim, feed_forward, num_heads)

    def controller_text(self, text_dim: int, dim: int) -> PixArtAlphaTextProjection:
        """Two layers, like the backbone's."""
        return PixArtAlphaTextProjection(text_dim, dim, act_fn="gelu_tanh")

    def controller_time(self, dim: int, time_embed_dim: int) -> tuple[int, TimeModulation]:
        """Like the backbone's: one embedding for all blocks, for one timestep per sample.

        The controller does not need the first frame's timestep, because it is not predicted.
        """
        return time_embed_dim, TimeModulation(time_embed_dim, dim)

    def arranged(
        self, place: Arrangement, positions: Rotary, text_tokens: int
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, ...] | None]:
        """Cosines and sines [rows or 1, M, 1, d] and lengths of rows; text is separate."""
        anchors = place.width // place.L if place.L else 0
        tables = []
        for part in positions:
            table = part.to(place.device)
            if place.index is None:
                table = table.repeat(anchors, 1)[None]
            else:
                table = table[place.index % max(place.L, 1)]
            tables.append(table[:, :, None])
        return (tables[0], tables[1]), place.lengths

    def sources(self, backbone: WanTransformer3DModel) -> dict[str, nn.Module]:
        """Text projection and time embedding."""
        embedder = backbone.condition_embedder
        return {
            "text_proj": embedder.text_embedder,
            "time_embedding.time_embedder": embedder.time_embedder,
            "time_embedding.time_proj": embedder.time_proj,
        }

    def patch(
        self, backbone: WanTransformer3DModel
    ) -> tuple[Float[Tensor, "D C p p"], Float[Tensor, " D"]]:
        """For one latent frame."""
        return backbone.patch_embedding.weight[:, :, 0], backbone.patch_embedding.bias

    def first_frame_positions(
        self, backbone: WanTransformer3DModel, height: int, width: int
    ) -> None:
        """Nothing: positions are rotary only."""
        return None

    def timesteps_ahead(self, arguments: Mapping[str, Any], added: int) -> dict[str, Any]:
        """References at timestep 0, like the given frame (Spatia)."""
        temb = arguments["temb"]
        if temb.ndim != 4:
            return {}
        # The first frame's tokens are also clean, and share one timestep.
        return {"temb": torch.cat([temb[:, :1].expand(-1, added, -1, -1), temb], dim=1)}

    def rotary_in(self, arguments: Mapping[str, Any]) -> Rotary:
        """Without batch and head dimensions."""
        cos, sin = (table[0, :, 0] for table in arguments["rotary_emb"][:2])
        return cos, sin

    def rotary_arguments(self, rotary: Rotary) -> dict[str, tuple[Tensor, ...]]:
        """With them."""
        return {"rotary_emb": tuple(table[None, :, None] for table in rotary)}

    def time_channels(self, head_dim: int) -> int:
        """The rest after a third each for height and width, rounded down to pairs."""
        return head_dim - 4 * (head_dim // 6)

    def mask_arguments(
        self,
        block: nn.Module,
        arguments: Mapping[str, Any],
        tokens: Float[Tensor, "B L D"],
        present: Bool[Tensor, "B L"],
    ) -> dict[str, tuple[Tensor, ...]]:
        """Appends a mask to cosines and sines, the only argument passed on to its attention."""
        let_blocks_be_masked(block)
        return {"rotary_emb": (*arguments["rotary_emb"], present[:, None, None])}

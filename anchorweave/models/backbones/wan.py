"""Wan2.2-TI2V: text by cross-attention, the clean image in the place of the first latent frame."""

from __future__ import annotations

import inspect
import logging
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
from anchorweave.models.backbones.base import BackboneCall, BackboneSizes, Family
from anchorweave.models.backbones.reference_positions import rotary_with_references
from anchorweave.models.backbones.wan_block import (
    TimeModulation,
    WanControllerBlock,
    let_blocks_be_masked,
)
from anchorweave.models.codec.umt5_text import UMT5Text
from anchorweave.models.codec.wan import WanCodec
from anchorweave.models.cross_anchor_attention import Arrangement

# transformer/config.json of Wan2.2-TI2V-5B-Diffusers.
PUBLISHED_5B = {
    "patch_size": [1, 2, 2],
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "in_channels": 48,
    "out_channels": 48,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 14336,
    "num_layers": 30,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "rope_max_seq_len": 1024,
}
FITS = "use a folder of Wan2.2-TI2V-5B-Diffusers' kind"
# The patch that diffusers' pipeline is written for.
PATCH = 2
# Wan's configuration does not say what it was made for. Entries of our own do in small models;
# where there are none it is what diffusers' pipeline makes, and UMT5 reads 512 tokens.
MADE_FOR = {
    "sample_frames": 81,
    "sample_height": 30,
    "sample_width": 52,
    "max_text_seq_length": 512,
}
# Of a block, behind the image tokens.
BLOCK_ARGUMENTS = ("encoder_hidden_states", "temb", "rotary_emb")

Rotary = tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]]


class Wan(Family):
    """Wan2.2-TI2V, as Wan2.2-TI2V-5B: timesteps are per token, those of the first frame 0.

    Source: a controller's shares of layers and heads are a third each, 10 of 30 and 8 of 24, as
    near to CogVideoX's released ones as they come; AnchorWeave's own for Wan are not published.
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
    pipeline = "AnchorWeaveWanPipeline"
    published = ("Wan2.2-TI2V-5B", PUBLISHED_5B)
    unfit = {
        "WanVACETransformer3DModel": "Wan-VACE takes no timestep per token, which an image in the "
        f"place of the first frame needs; {FITS}",
    }

    def blocks(self, backbone: WanTransformer3DModel) -> nn.ModuleList:
        """Its blocks, which return image tokens."""
        return backbone.blocks

    def sizes_of(self, config: Mapping[str, Any]) -> BackboneSizes:
        """Sizes from a configuration.

        Raises:
            ValueError: patches that are not one frame of 2x2.
        """
        settings = _defaults() | MADE_FOR | dict(config)
        patch = tuple(settings["patch_size"])
        if patch != (1, PATCH, PATCH):
            raise ValueError(
                f"this backbone has patches of {patch} latent frames, rows and columns; diffusers' "
                f"pipeline takes (1, {PATCH}, {PATCH}) only; {FITS}"
            )
        return BackboneSizes(
            backbone_dim=settings["num_attention_heads"] * settings["attention_head_dim"],
            num_layers=settings["num_layers"],
            num_heads=settings["num_attention_heads"],
            head_dim=settings["attention_head_dim"],
            input_channels=settings["in_channels"],
            latent_channels=settings["out_channels"] or settings["in_channels"],
            text_dim=settings["text_dim"],
            text_tokens=settings["max_text_seq_length"],
            time_embed_dim=settings["freq_dim"],
            feed_forward=settings["ffn_dim"],
            patch_size=PATCH,
            temporal_compression=4,
            rotary=True,
            frames=settings["sample_frames"],
            latent_size=(settings["sample_height"], settings["sample_width"]),
            joint_text=False,
        )

    def check_index(self, index: Mapping[str, Any]) -> None:
        """Refuse models of two transformers, and those without a timestep per token."""
        if any(index.get("transformer_2") or ()):
            raise ValueError(
                "it has two transformers, one for much noise and one for little (transformer_2: "
                f"Wan2.2-A14B), and a controller is woven into one; {FITS}"
            )
        if index.get("_class_name") != self.pipeline and not index.get("expand_timesteps"):
            raise ValueError(
                "it is a Wan without a timestep per token (no expand_timesteps in its "
                f"model_index.json), which takes no clean first frame; {FITS}"
            )

    def check_image_to_video(self, backbone: WanTransformer3DModel, channels: int) -> None:
        """Refuse a backbone that takes an image otherwise, and those that `sizes_of` refuses."""
        sizes, config = self.sizes(backbone), backbone.config
        met = (sizes.input_channels, sizes.latent_channels)
        if met != (channels, channels) or config.image_dim is not None:
            raise ValueError(
                f"the backbone takes {met[0]} channels and predicts {met[1]}, the autoencoder's "
                f"latents have {channels}; image-to-video with the image in the place of the first "
                f"frame needs the same number of each, and no image encoder; {FITS}"
            )

    def process(self, scheduler: SchedulerMixin) -> FlowMatching:
        """Flow matching, of a scheduler that samples by it.

        Raises:
            ValueError: a scheduler of other predictions.
        """
        config, kind = scheduler.config, type(scheduler).__name__
        flow = config.get("use_flow_sigmas") and config.get("prediction_type") == "flow_prediction"
        if not (flow or kind.startswith("FlowMatch")):
            raise ValueError(
                f"the scheduler {kind} is one of prediction_type={config.get('prediction_type')}, "
                "but Wan backbones predict a flow; take the scheduler that came with the backbone "
                "(prediction_type=flow_prediction, use_flow_sigmas=true)"
            )
        return FlowMatching(config.num_train_timesteps)

    def positions(
        self,
        backbone: WanTransformer3DModel,
        latent_size: tuple[int, int, int],
        device: torch.device | str | None = None,
    ) -> Rotary:
        """Cosines and sines [t * h//2 * w//2, head_dim]; its calls make them by themselves."""
        like = torch.empty(1, 1, *latent_size, device="meta")
        cos, sin = (table[0, :, 0] for table in backbone.rope(like))
        return cos.to(device), sin.to(device)

    def swap_axes(self, latents: Float[Tensor, "B _ _ h w"]) -> Float[Tensor, "B _ _ h w"]:
        """Channels and frames exchanged: diffusers' Wan has the channels first."""
        return latents.transpose(1, 2)

    def condition(
        self,
        noisy: Float[Tensor, "B t C h w"],
        image: Float[Tensor, "B t C h w"],
        timestep: Shaped[Tensor, " B"],
    ) -> tuple[Float[Tensor, "B C t h w"], Shaped[Tensor, "B L"]]:
        """The image's latent in the place of the first frame, at timestep 0."""
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
        """The flow from clean latents to noise; of the first frame it means nothing."""
        latents, times = self.condition(noisy, image, timestep)
        predicted = backbone(
            hidden_states=latents, timestep=times, encoder_hidden_states=text, return_dict=False
        )[0]
        return self.swap_axes(predicted)

    def read_call(
        self, backbone: WanTransformer3DModel, args: tuple, kwargs: Mapping[str, Any]
    ) -> BackboneCall:
        """What a call says; its first frame is the image's, the timestep is that of the others."""
        said = inspect.signature(backbone.forward).bind(*args, **kwargs).arguments
        latents, timestep = said["hidden_states"], said["timestep"]
        cos, sin = (table[0, :, 0] for table in backbone.rope(latents))
        return BackboneCall(
            self.swap_axes(latents),
            said["encoder_hidden_states"],
            timestep[:, -1] if timestep.ndim == 2 else timestep,
            (cos, sin),
        )

    def controller_share(self, sizes: BackboneSizes) -> tuple[int, int]:
        """A third of its layers and of its heads."""
        return max(round(sizes.num_layers / 3), 1), max(round(sizes.num_heads / 3), 1)

    def controller_block(
        self, dim: int, num_heads: int, head_dim: int, time_embed_dim: int, feed_forward: int
    ) -> WanControllerBlock:
        """A block of the same kind, whose attention has a rotation and a mask for every row."""
        return WanControllerBlock(dim, feed_forward, num_heads)

    def controller_text(self, text_dim: int, dim: int) -> PixArtAlphaTextProjection:
        """Two layers, as the backbone's."""
        return PixArtAlphaTextProjection(text_dim, dim, act_fn="gelu_tanh")

    def controller_time(self, dim: int, time_embed_dim: int) -> tuple[int, TimeModulation]:
        """As the backbone's: one embedding for all blocks, of one timestep a sample.

        The controller has no use for the first frame's: what it says there is not predicted.
        """
        return time_embed_dim, TimeModulation(time_embed_dim, dim)

    def arranged(
        self, place: Arrangement, positions: Rotary, text_tokens: int
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, ...] | None]:
        """Cosines and sines [rows or 1, M, 1, d] and lengths of rows; text stands apart."""
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
        """Of one latent frame."""
        return backbone.patch_embedding.weight[:, :, 0], backbone.patch_embedding.bias

    def first_frame_positions(
        self, backbone: WanTransformer3DModel, height: int, width: int
    ) -> None:
        """Nothing: positions are rotary only."""
        return None

    def block_with_references(
        self,
        block: nn.Module,
        tokens: Float[Tensor, "B L D"],
        args: tuple,
        kwargs: Mapping[str, Any],
        references: int,
        per_frame: int,
        present: Bool[Tensor, "B R"] | None,
    ) -> dict[str, Any]:
        """References at timestep 0, as the given frame is, and times -R .. -1 (Spatia)."""
        said = dict(zip(BLOCK_ARGUMENTS, args, strict=False)) | dict(kwargs)
        added, temb = references * per_frame, said["temb"]
        if temb.ndim == 4:
            # The first frame's tokens are clean as well, and share one timestep.
            said["temb"] = torch.cat([temb[:, :1].expand(-1, added, -1, -1), temb], dim=1)
        cos, sin = (table[0, :, 0] for table in said["rotary_emb"][:2])
        width = cos.shape[1]
        # A third of the channels turns with height and a third with width, rounded down to pairs.
        longer = rotary_with_references(
            (cos, sin), references, per_frame, time_channels=width - 4 * (width // 6)
        )
        said["rotary_emb"] = tuple(table[None, :, None] for table in longer)
        if present is not None:
            let_blocks_be_masked(block)
            there = present.repeat_interleave(per_frame, dim=1)
            video = there.new_ones(len(there), tokens.shape[1] - added)
            said["rotary_emb"] += (torch.cat([there, video], dim=1)[:, None, None],)
        return said


def made_for(
    backbone: WanTransformer3DModel, frames: int, latent_size: tuple[int, int], text_tokens: int
) -> WanTransformer3DModel:
    """The backbone with entries in its configuration that say what it was made for."""
    values = (frames, *latent_size, text_tokens)
    backbone.register_to_config(**dict(zip(MADE_FOR, values, strict=True)))
    return backbone


class _OwnEntries(logging.Filter):
    """Keeps diffusers from warning of `MADE_FOR`, which it holds on to all the same."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        ours = "passed to WanTransformer3DModel" in said and "not expected" in said
        return not (ours and said.count("':") <= sum(name in said for name in MADE_FOR))


class _NoImageEncoder(logging.Filter):
    """Keeps transformers from asking for torchvision, for other Wans' image encoder alone."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("`CLIPImageProcessor` requires torchvision")


logging.getLogger("diffusers.configuration_utils").addFilter(_OwnEntries())
logging.getLogger("transformers.utils.import_utils").addFilter(_NoImageEncoder())


def _defaults() -> dict[str, Any]:
    """What a configuration means that does not say all, as a `config.json` may."""
    arguments = inspect.signature(WanTransformer3DModel.__init__).parameters
    return {name: one.default for name, one in arguments.items()}

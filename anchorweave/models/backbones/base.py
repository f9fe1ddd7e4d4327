"""Family: everything that the networks beside a backbone have to know of its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import SchedulerMixin
from diffusers.models.embeddings import TimestepEmbedding
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from anchorweave.diffusion.process import NoiseProcess
from anchorweave.models.codec.base import TextEncoder, VideoCodec
from anchorweave.models.cross_anchor_attention import Arrangement

# What of its sizes a controller is made for, under the names of its own configuration.
OF_CONTROLLER = (
    "backbone_dim",
    "latent_channels",
    "text_dim",
    "patch_size",
    "temporal_compression",
    "spatial_interpolation_scale",
    "temporal_interpolation_scale",
    "rotary",
    # One rotary table serves both, so their heads are of one width.
    "head_dim",
    "time_embed_dim",
)
# Likewise a reference network.
OF_REFERENCES = ("backbone_dim", "latent_channels", "patch_size", "num_layers")


@dataclass(frozen=True)
class BackboneSizes:
    """The sizes of a backbone.

    Args:
        backbone_dim: width of a token.
        num_layers: blocks.
        num_heads: attention heads.
        head_dim: width of one.
        input_channels: of the latents that it is called with, the image's included where these are
            joined on channels.
        latent_channels: channels C of the VAE, which it predicts.
        text_dim: width of the prompt features.
        text_tokens: how many tokens of a prompt it reads.
        time_embed_dim: width of the timestep embedding.
        feed_forward: width inside the feed-forward part of a block.
        patch_size: latent pixels along one side of a token.
        temporal_compression: video frames in one latent frame behind the first.
        rotary: whether queries and keys are turned by a rotary table.
        frames: T of the videos that it was made for.
        latent_size: (h, w) of their latents.
        joint_text: whether text and image tokens attend as one sequence; else blocks read text by
            cross-attention, and take a timestep for every token.
        learned_positions: whether it learned its positions at that size and takes no other.
        spatial_interpolation_scale: of fixed sin-cos positions, where it has such.
        temporal_interpolation_scale: likewise.
    """

    backbone_dim: int
    num_layers: int
    num_heads: int
    head_dim: int
    input_channels: int
    latent_channels: int
    text_dim: int
    text_tokens: int
    time_embed_dim: int
    feed_forward: int
    patch_size: int
    temporal_compression: int
    rotary: bool
    frames: int
    latent_size: tuple[int, int]
    joint_text: bool = True
    learned_positions: bool = False
    spatial_interpolation_scale: float = 1.0
    temporal_interpolation_scale: float = 1.0

    def of(self, names: Sequence[str]) -> dict[str, Any]:
        """Some of them by name."""
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class BackboneCall:
    """What a call of a backbone says, whoever made it.

    Args:
        latents: the video being denoised, without its condition.
        text: prompt features.
        timestep: of each sample.
        positions: rotary table of the tokens, where the backbone has one.
    """

    latents: Float[Tensor, "B t C h w"]
    text: Float[Tensor, "B S text_dim"]
    timestep: Shaped[Tensor, " B"]
    positions: tuple[Tensor, ...] | None


class Family(ABC):
    """One kind of image-to-video backbone of diffusers. It holds no weights.

    Latents are [B, t, C, h, w] on our side of every method. Image latents come with as many frames
    as the video, of which the first is the image's and the others are empty.

    Attributes:
        name: under which it stands in `FAMILIES`.
        parts: classes of the parts of a model folder, by name; `transformer` is the backbone's.
        codec: of its videos.
        text: of its prompts.
        pipeline: name of the class that opens its model folders (`anchorweave/pipelines`).
        published: title, and configuration of the backbone as published, for estimates where no
            model is on disk.
        unfit: classes of similar backbones that cannot be woven into, each with the reason.
        lora_targets: layers of attention that an adapter of low rank is put on.
    """

    name: str
    parts: Mapping[str, type]
    codec: type[VideoCodec]
    text: type[TextEncoder]
    pipeline: str
    published: tuple[str, Mapping[str, Any]]
    unfit: Mapping[str, str] = {}
    lora_targets: Sequence[str] = ("to_q", "to_k", "to_v", "to_out.0")

    # The backbone itself

    @abstractmethod
    def blocks(self, backbone: nn.Module) -> nn.ModuleList:
        """Its blocks, which are called in this order with image tokens [B, L, D] first."""

    @abstractmethod
    def sizes_of(self, config: Mapping[str, Any]) -> BackboneSizes:
        """Sizes from a backbone's configuration, loaded or as it stands in its `config.json`.

        Raises:
            ValueError: a backbone that cannot be woven into.
        """

    def sizes(self, backbone: nn.Module) -> BackboneSizes:
        """Sizes of a backbone; raises like `sizes_of`."""
        return self.sizes_of(backbone.config)

    @abstractmethod
    def check_image_to_video(self, backbone: nn.Module, channels: int) -> None:
        """Refuse a backbone that takes no image, or latents of another autoencoder.

        Args:
            backbone: of this family.
            channels: of the autoencoder's latents.

        Raises:
            ValueError: it takes none, or none like these.
        """

    def check_index(self, index: Mapping[str, Any]) -> None:
        """Refuse a model folder whose backbone is of this family but of another kind.

        Args:
            index: its `model_index.json`, or a loaded pipeline's configuration.

        Raises:
            ValueError: another kind; says which one fits.
        """
        return None

    @abstractmethod
    def process(self, scheduler: SchedulerMixin) -> NoiseProcess:
        """The noise process that its backbones are trained in.

        Raises:
            ValueError: a scheduler of another process.
        """

    # Calls of the backbone

    @abstractmethod
    def positions(
        self,
        backbone: nn.Module,
        latent_size: tuple[int, int, int],
        device: torch.device | str | None = None,
    ) -> tuple[Tensor, ...] | None:
        """Rotary table of the tokens of latents (t, h, w); None where it has none.

        The controller's, and what calls of the backbone are given where these take one.
        """

    def swap_axes(self, latents: Float[Tensor, "B _ _ h w"]) -> Float[Tensor, "B _ _ h w"]:
        """Latents between our axes and those of diffusers' pipeline; its own inverse."""
        return latents

    @abstractmethod
    def condition(
        self,
        noisy: Float[Tensor, "B t C h w"],
        image: Float[Tensor, "B t C h w"],
        timestep: Shaped[Tensor, " B"],
    ) -> tuple[Tensor, Tensor]:
        """Latents and timestep of a call that shows it the image, in the backbone's own axes."""

    @abstractmethod
    def predict(
        self,
        backbone: nn.Module,
        noisy: Float[Tensor, "B t C h w"],
        image: Float[Tensor, "B t C h w"],
        text: Float[Tensor, "B S text_dim"],
        timestep: Shaped[Tensor, " B"],
        positions: tuple[Tensor, ...] | None,
    ) -> Float[Tensor, "B t C h w"]:
        """The backbone's prediction, in terms of its noise process."""

    @abstractmethod
    def read_call(
        self, backbone: nn.Module, args: tuple, kwargs: Mapping[str, Any]
    ) -> BackboneCall:
        """What a call of the backbone with these arguments says: the inverse of `predict`."""

    def speed_up(self, backbone: nn.Module) -> None:
        """Let it compute the same numbers, to rounding, in less time, where there is a way."""
        return None

    def use_attention(self, backbone: nn.Module, backend: str) -> None:
        """Let its attention be computed by one of diffusers' backends, by its name there."""
        backbone.set_attention_backend(backend)

    # Blocks in the place of its own

    def tokens(self, answer: Any) -> Float[Tensor, "B L D"]:
        """The image tokens of what a block returns."""
        return answer

    def with_tokens(self, answer: Any, tokens: Float[Tensor, "B L D"]) -> Any:
        """What a block returns, with other image tokens."""
        return tokens

    # The controller beside it

    @abstractmethod
    def controller_share(self, sizes: BackboneSizes) -> tuple[int, int]:
        """Layers and heads of a controller for which none are asked for."""

    @abstractmethod
    def controller_block(
        self, dim: int, num_heads: int, head_dim: int, time_embed_dim: int, feed_forward: int
    ) -> nn.Module:
        """A new block, which takes tokens and text and returns both.

        It is called with tokens [rows, M, dim], text [rows, S, dim], what `controller_time` makes
        of the timestep and the two that `arranged` gives.
        """

    def controller_text(self, text_dim: int, dim: int) -> nn.Module:
        """A new module from prompt features [B, S, text_dim] to the controller's [B, S, dim]."""
        return nn.Linear(text_dim, dim)

    def controller_time(self, dim: int, time_embed_dim: int) -> tuple[int, nn.Module]:
        """A new embedding of the timestep's sines for its blocks, ahead of it their number."""
        return dim, TimestepEmbedding(dim, time_embed_dim)

    def controller_positions(
        self, config: Mapping[str, Any], grid: tuple[int, int, int], device: torch.device
    ) -> Float[Tensor, "L dim"] | None:
        """What is added to the tokens of every anchor; None = nothing.

        Args:
            config: of the controller.
            grid: (frames, rows, columns) of tokens.
            device: where it is to lie.
        """
        return None

    @abstractmethod
    def arranged(
        self, place: Arrangement, positions: tuple[Tensor, ...] | None, text_tokens: int
    ) -> tuple[Any, Any]:
        """Positions and lengths of rows of the tokens in attention, as its blocks take them."""

    @abstractmethod
    def sources(self, backbone: nn.Module) -> Mapping[str, nn.Module]:
        """What a controller of the backbone's width may start from, beside the blocks.

        Modules of the backbone by the name of the controller's.
        """

    # References as frames of the sequence

    @abstractmethod
    def patch(self, backbone: nn.Module) -> tuple[Float[Tensor, "D C p p"], Float[Tensor, " D"]]:
        """Weight and bias that make tokens of noisy latents."""

    @abstractmethod
    def first_frame_positions(
        self, backbone: nn.Module, height: int, width: int
    ) -> Float[Tensor, "L D"] | None:
        """What the backbone adds to the tokens of its first frame; None = nothing."""

    @abstractmethod
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
        """Arguments of a block beside its tokens, where references stand ahead of the video's.

        Args:
            block: which is called with them.
            tokens: of references and video.
            args: what the block is called with behind the video's tokens.
            kwargs: likewise.
            references: R frames.
            per_frame: tokens of one frame.
            present: which references are there; None = all.
        """

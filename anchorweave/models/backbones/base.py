"""Family: everything other networks need to know about a kind of backbone."""

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
from anchorweave.models.backbones.sizes import BackboneSizes
from anchorweave.models.codec.base import TextEncoder, VideoCodec
from anchorweave.models.cross_anchor_attention import Arrangement
from anchorweave.models.families import FAMILIES


@dataclass(frozen=True)
class BackboneCall:
    """The arguments of a backbone call, in a form common to all families.

    Args:
        latents: the video being denoised, without its image condition.
        text: prompt features.
        timestep: of each sample.
        positions: rotary table of the tokens, if the backbone uses one.
    """

    latents: Float[Tensor, "B t C h w"]
    text: Float[Tensor, "B S text_dim"]
    timestep: Shaped[Tensor, " B"]
    positions: tuple[Tensor, ...] | None


class Family(ABC):
    """A kind of image-to-video backbone of diffusers. A family holds no weights.

    To add a family, write its files and a line in `FAMILIES` (`anchorweave/models/families.py`).

    Methods take and return latents as [B, t, C, h, w]. Image latents have as many frames as the
    video; the first is the image's and the others are empty.

    Attributes:
        name: its key in `FAMILIES`.
        parts: classes of a model folder's components, by name; `transformer` is the backbone's.
        codec: its video codec.
        text: its text encoder.
        published: title and configuration of the published backbone, for estimates without a
            model on disk.
        unfit: classes of similar but unsupported backbones, each with the reason.
        lora_targets: attention layers that a LoRA applies to.
        block_arguments: names of a block's positional arguments after the image tokens.
    """

    name: str
    parts: Mapping[str, type]
    codec: type[VideoCodec]
    text: type[TextEncoder]
    published: tuple[str, Mapping[str, Any]]
    unfit: Mapping[str, str] = {}
    lora_targets: Sequence[str] = ("to_q", "to_k", "to_v", "to_out.0")
    block_arguments: Sequence[str]

    @property
    def pipeline(self) -> str:
        """Name of the class that loads its model folders (`anchorweave/pipelines`)."""
        return FAMILIES[self.name].pipeline.partition(":")[2]

    # The backbone itself

    @abstractmethod
    def blocks(self, backbone: nn.Module) -> nn.ModuleList:
        """Its blocks, called in this order with image tokens [B, L, D] first."""

    @abstractmethod
    def sizes_of(self, config: Mapping[str, Any]) -> BackboneSizes:
        """Sizes from a backbone's configuration, loaded or as in its `config.json`.

        Raises:
            ValueError: an unsupported backbone.
        """

    def sizes(self, backbone: nn.Module) -> BackboneSizes:
        """Sizes of a backbone; raises like `sizes_of`."""
        return self.sizes_of(backbone.config)

    @abstractmethod
    def check_image_to_video(self, backbone: nn.Module, channels: int) -> None:
        """Refuses a backbone without image input, or for latents of another autoencoder.

        Args:
            backbone: a backbone of this family.
            channels: channels of the autoencoder's latents.

        Raises:
            ValueError: it takes no image, or other latents.
        """

    def check_index(self, index: Mapping[str, Any]) -> None:
        """Refuses a model folder whose backbone is of this family but an unsupported variant.

        Args:
            index: its `model_index.json`, or a loaded pipeline's configuration.

        Raises:
            ValueError: an unsupported variant; the message names a supported one.
        """
        return None

    @abstractmethod
    def process(self, scheduler: SchedulerMixin) -> NoiseProcess:
        """The noise process that its backbones are trained with.

        Raises:
            ValueError: a scheduler for another process.
        """

    # Calls of the backbone

    @abstractmethod
    def positions(
        self,
        backbone: nn.Module,
        latent_size: tuple[int, int, int],
        device: torch.device | str | None = None,
    ) -> tuple[Tensor, ...] | None:
        """Rotary table of the tokens of latents (t, h, w); None if it has none.

        Used by the controller, and passed to backbone calls that accept one.
        """

    def swap_axes(self, latents: Float[Tensor, "B _ _ h w"]) -> Float[Tensor, "B _ _ h w"]:
        """Converts latents between our axis order and diffusers'; its own inverse."""
        return latents

    @abstractmethod
    def condition(
        self,
        noisy: Float[Tensor, "B t C h w"],
        image: Float[Tensor, "B t C h w"],
        timestep: Shaped[Tensor, " B"],
    ) -> tuple[Tensor, Tensor]:
        """Latents and timestep of a call conditioned on the image, in the backbone's axis order."""

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
        """Parses the arguments of a call: the inverse of `predict`."""

    def speed_up(self, backbone: nn.Module) -> None:
        """Speeds it up without changing its output beyond rounding, where possible."""
        return None

    def use_attention(self, backbone: nn.Module, backend: str) -> None:
        """Selects one of diffusers' attention backends, by diffusers' name."""
        backbone.set_attention_backend(backend)

    # Replacing its blocks

    def tokens(self, answer: Any) -> Float[Tensor, "B L D"]:
        """The image tokens in a block's output."""
        return answer

    def with_tokens(self, answer: Any, tokens: Float[Tensor, "B L D"]) -> Any:
        """A block's output with its image tokens replaced."""
        return tokens

    # The controller

    @abstractmethod
    def controller_share(self, sizes: BackboneSizes) -> tuple[int, int]:
        """Default layers and heads of a controller."""

    @abstractmethod
    def controller_block(
        self, dim: int, num_heads: int, head_dim: int, time_embed_dim: int, feed_forward: int
    ) -> nn.Module:
        """A new block, which takes tokens and text and returns both.

        It is called with tokens [rows, M, dim], text [rows, S, dim], the output of
        `controller_time` and the two values returned by `arranged`.
        """

    def controller_text(self, text_dim: int, dim: int) -> nn.Module:
        """A new module that projects prompt features [B, S, text_dim] to [B, S, dim]."""
        return nn.Linear(text_dim, dim)

    def controller_time(self, dim: int, time_embed_dim: int) -> tuple[int, nn.Module]:
        """A new embedding for its blocks of the timestep's sines, and the number of sines."""
        return dim, TimestepEmbedding(dim, time_embed_dim)

    def controller_positions(
        self, config: Mapping[str, Any], grid: tuple[int, int, int], device: torch.device
    ) -> Float[Tensor, "L dim"] | None:
        """A term added to the tokens of every anchor; None = nothing.

        Args:
            config: configuration of the controller.
            grid: (frames, rows, columns) of tokens.
            device: device of the result.
        """
        return None

    @abstractmethod
    def arranged(
        self, place: Arrangement, positions: tuple[Tensor, ...] | None, text_tokens: int
    ) -> tuple[Any, Any]:
        """Positions and lengths of token rows in attention, in the form its blocks take."""

    @abstractmethod
    def sources(self, backbone: nn.Module) -> Mapping[str, nn.Module]:
        """Modules besides the blocks that a controller of the backbone's width may copy.

        Modules of the backbone by the name of the controller's.
        """

    # References as frames of the sequence

    @abstractmethod
    def patch(self, backbone: nn.Module) -> tuple[Float[Tensor, "D C p p"], Float[Tensor, " D"]]:
        """Weight and bias of the patch embedding of noisy latents."""

    @abstractmethod
    def first_frame_positions(
        self, backbone: nn.Module, height: int, width: int
    ) -> Float[Tensor, "L D"] | None:
        """The term that the backbone adds to the tokens of its first frame; None = nothing."""

    def timesteps_ahead(self, arguments: Mapping[str, Any], added: int) -> dict[str, Any]:
        """The arguments of a block that change when `added` clean tokens are prepended.

        Args:
            arguments: arguments of the block by name, for the video's tokens only.
            added: the reference tokens.
        """
        return {}

    def rotary_in(
        self, arguments: Mapping[str, Any]
    ) -> tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]] | None:
        """Cosines and sines of the video's tokens in a block's arguments; None = no rotation."""
        return None

    def rotary_arguments(
        self, rotary: tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]]
    ) -> dict[str, Any]:
        """The inverse of `rotary_in`."""
        raise NotImplementedError

    def time_channels(self, head_dim: int) -> int:
        """Number of leading channels of a head that encode time."""
        raise NotImplementedError

    def mask_arguments(
        self,
        block: nn.Module,
        arguments: Mapping[str, Any],
        tokens: Float[Tensor, "B L D"],
        present: Bool[Tensor, "B L"],
    ) -> dict[str, Any]:
        """The arguments of a block that mask tokens.

        Args:
            block: the block to be called.
            arguments: arguments of the block by name, complete except for the mask.
            tokens: tokens of references and video.
            present: False for masked tokens.

        Raises:
            ValueError: the family's blocks do not support masks.
        """
        raise ValueError(
            f"blocks of the family {self.name} do not support masks, which are needed if samples "
            "of a batch have different numbers of references; use a batch size of 1"
        )

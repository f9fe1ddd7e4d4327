"""Family: everything that the networks beside a backbone need to know about its kind."""

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
    """The arguments of a backbone's call, in a form that all families share.

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
    """One kind of image-to-video backbone of diffusers. A family holds no weights.

    A family is added by its files and a line in `FAMILIES` (`anchorweave/models/families.py`).

    Methods take and return latents as [B, t, C, h, w]. Image latents come with as many frames
    as the video, of which the first is the image's and the others are empty.

    Attributes:
        name: its key in `FAMILIES`.
        parts: classes of the parts of a model folder, by name; `transformer` is the backbone's.
        codec: of its videos.
        text: of its prompts.
        published: title, and configuration of the backbone as published, for estimates where no
            model is on disk.
        unfit: classes of similar backbones that cannot be woven into, each with the reason.
        lora_targets: layers of attention that an adapter of low rank is put on.
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
        """Name of the class that opens its model folders (`anchorweave/pipelines`)."""
        return FAMILIES[self.name].pipeline.partition(":")[2]

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
            ValueError: another kind; the message names one that fits.
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
        """The content of a call with these arguments: the inverse of `predict`."""

    def speed_up(self, backbone: nn.Module) -> None:
        """Make it faster without changing its numbers beyond rounding, where possible."""
        return None

    def use_attention(self, backbone: nn.Module, backend: str) -> None:
        """Compute its attention by one of diffusers' backends, by diffusers' name."""
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
        """Default layers and heads of a controller."""

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
            device: of the result.
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

    def timesteps_ahead(self, arguments: Mapping[str, Any], added: int) -> dict[str, Any]:
        """The arguments of a block that change when `added` clean tokens are prepended.

        Args:
            arguments: of the block by name, for the video's tokens alone.
            added: tokens of references.
        """
        return {}

    def rotary_in(
        self, arguments: Mapping[str, Any]
    ) -> tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]] | None:
        """Cosines and sines of the video's tokens among a block's arguments; None = no rotation."""
        return None

    def rotary_arguments(
        self, rotary: tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]]
    ) -> dict[str, Any]:
        """The inverse of `rotary_in`."""
        raise NotImplementedError

    def time_channels(self, head_dim: int) -> int:
        """Number of leading channels of a head that are rotated by time."""
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
            block: which is called with them.
            arguments: of the block by name, complete but for the mask.
            tokens: of references and video.
            present: False for masked tokens.

        Raises:
            ValueError: a family whose blocks take no mask.
        """
        raise ValueError(
            f"blocks of the family {self.name} take no mask, which a batch needs whose samples "
            "have different numbers of references; use batches of one"
        )

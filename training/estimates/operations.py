"""Counts the floating-point operations of a training step analytically.

Counted are matrix products and attention, with a multiplication and an addition each; for M tokens
of width D in self-attention, a block takes

    24 M D^2          projections (8) and feed-forward (16)
    4 M^2 D           scores and weighted sums

in the forward pass. Cross-attention to S text tokens (Wan) adds

    4 M D^2 + 4 S D^2     projections
    4 M S D               scores and weighted sums

and timesteps are embedded for every token. In the backward pass, every product costs once more for
the gradient of its input and once more for the gradient of its weights if they are trained;
attention has two inputs and costs twice. Gradients also pass through a frozen backbone, because
features are added before its first block.
Gradient checkpointing runs the blocks forward once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anchorweave.models.backbones import BackboneSizes
from anchorweave.models.checkpointing import Kept, kept_parts


@dataclass(frozen=True)
class Blocks:
    """A stack of transformer blocks and its input.

    Args:
        layers: number of blocks.
        rows: sequences, each attending to itself.
        tokens: tokens per sequence.
        dim: width.
        time_dim: width of the timestep embedding, from which each block makes 12 vectors; 0 = they
            are made once for all blocks, six for every token.
        trained: whether its weights are trained.
        adapted: whether it has a LoRA.
        inner: hidden width of the feed-forward layer; None = four times `dim`.
        read: text tokens read by cross-attention.
        per_token_time: whether every token has its own timestep.
    """

    layers: int
    rows: int
    tokens: int
    dim: int
    time_dim: int
    trained: bool
    inner: int | None = None
    read: int = 0
    per_token_time: bool = False
    adapted: bool = False

    @property
    def attention(self) -> int:
        """Operations of attention, forward, all layers."""
        return self.layers * self.rows * 4 * self.tokens**2 * self.dim

    @property
    def products(self) -> int:
        """Operations of matrix products, forward, all layers."""
        M, D = self.tokens, self.dim
        inner = 4 * D if self.inner is None else self.inner
        across = 4 * M * D**2 if self.read else 0
        return self.layers * self.rows * (8 * M * D**2 + 4 * M * D * inner + across)

    @property
    def reading(self) -> tuple[int, int]:
        """Operations of cross-attention to text and its projections, forward, all layers."""
        each = self.layers * self.rows * 4 * self.read * self.dim
        return each * self.tokens, each * self.dim

    @property
    def modulation(self) -> int:
        """Operations for scales, shifts and gates from the timestep, forward, all layers."""
        return self.layers * self.rows * 24 * self.time_dim * self.dim

    @property
    def size(self) -> int:
        """Number of values in the tokens of one layer."""
        return self.rows * self.tokens * self.dim


@dataclass(frozen=True)
class Looking:
    """Cross-attention of video tokens to references, in some of the backbone's blocks.

    Args:
        layers: number of such layers.
        rows: samples.
        queries: video tokens per sample.
        keys: reference tokens per sample.
        dim: width of the tokens.
        inner: total width of all heads.
        trained: whether its weights are trained.
    """

    layers: int = 0
    rows: int = 0
    queries: int = 0
    keys: int = 0
    dim: int = 0
    inner: int = 0
    trained: bool = False

    @property
    def attention(self) -> int:
        """Operations of attention, forward, all layers."""
        return self.layers * self.rows * 4 * self.queries * self.keys * self.inner

    @property
    def products(self) -> int:
        """Operations of matrix products, forward, all layers."""
        return self.layers * self.rows * 4 * (self.queries + self.keys) * self.dim * self.inner


@dataclass(frozen=True)
class Step:
    """One call of the networks on one GPU, forward and backward.

    Args:
        backbone: its blocks.
        controller: likewise; without one, a stack of no layers.
        features: number of values in the control features of all woven layers.
        ends: (forward operations, backward cost as a multiple of them) of everything but blocks.
        looking: cross-attention of the backbone's tokens to references.
    """

    backbone: Blocks
    controller: Blocks
    features: int
    ends: tuple[tuple[int, int], ...]
    looking: Looking = Looking()

    @property
    def forward(self) -> int:
        """Operations of the forward pass."""
        blocks = sum(b.attention + b.products + b.modulation + sum(b.reading) for b in self.stacks)
        looking = self.looking.attention + self.looking.products
        return blocks + looking + sum(operations for operations, _ in self.ends)

    @property
    def backward(self) -> int:
        """Operations of the backward pass."""
        blocks = sum(
            2 * b.attention
            + (2 if b.trained else 1) * b.products
            + 2 * b.trained * b.modulation
            # Text before the first trained layer gets no gradient.
            + (1 + b.trained) * b.reading[0]
            + 2 * b.trained * b.reading[1]
            for b in self.stacks
        )
        look = self.looking
        looking = 2 * look.attention + (1 + look.trained) * look.products
        return blocks + looking + sum(operations * again for operations, again in self.ends)

    def recomputed(self, kept: Kept = "nothing") -> int:
        """Operations added by gradient checkpointing, except for what is kept."""
        blocks = sum(
            b.products + b.modulation + b.reading[1] + (not keep) * (b.attention + b.reading[0])
            for b, keep in zip(self.stacks, kept_parts(kept), strict=True)
        )
        of_backbone, _ = kept_parts(kept)
        return blocks + self.looking.products + (not of_backbone) * self.looking.attention

    @property
    def stacks(self) -> tuple[Blocks, Blocks]:
        """Stacks of backbone and controller."""
        return self.backbone, self.controller


def training_step(
    backbone: BackboneSizes,
    controller: Mapping[str, Any] | None,
    *,
    batch: int,
    anchors: int,
    latent_size: tuple[int, int, int],
    text_tokens: int,
    train_backbone: bool = False,
    train_controller: bool = True,
    visible: float = 1.0,
    adapted: bool = False,
    preceding: int = 0,
) -> Step:
    """The operations of one call of the networks.

    Args:
        backbone: its sizes.
        controller: configuration of the controller; None = only the backbone.
        batch: samples B of the call.
        anchors: N of each sample.
        latent_size: (t, h, w).
        text_tokens: S.
        train_backbone: whether all of its weights are trained. A LoRA counts as frozen: it adds
            less than a hundredth.
        train_controller: whether the controller is trained.
        visible: fraction of the anchors' tokens that take part in attention if the controller
            attends only to visible tokens.
        adapted: whether the backbone has a LoRA.
        preceding: latent frames before the video that the controller processes as well; their cost
            in the backbone is added by `with_references`.
    """
    t, h, w = latent_size
    patch, C = backbone.patch_size, backbone.latent_channels
    L, S, B, N = t * (h // patch) * (w // patch), text_tokens, batch, anchors
    D, time, text = backbone.backbone_dim, backbone.time_embed_dim, backbone.text_dim
    learn, pixels = int(train_backbone), 2 * patch**2
    joined = backbone.joint_text
    blocks = Blocks(
        backbone.num_layers,
        B,
        L + S * joined,
        D,
        time * joined,
        train_backbone,
        backbone.feed_forward,
        S * (not joined),
        not joined,
        adapted,
    )
    ends = (
        (B * L * pixels * backbone.input_channels * D, learn),  # latents to tokens
        (2 * B * S * text * D, learn),  # text features to tokens
        (B * L * pixels * C * D, 1 + learn),  # tokens to latents
    )
    if joined:
        ends += (
            (2 * B * time * (D + time), 2 * learn),  # the timestep
            (2 * B * time * 2 * D, 2 * learn),  # the last norm
        )
    else:
        ends += (
            (2 * B * S * D**2, 2 * learn),  # text features' second layer
            (2 * B * L * time * D, learn),  # the timestep of every token
            (2 * B * L * 7 * D**2, 2 * learn),
        )
    if controller is None:
        return Step(blocks, Blocks(0, 0, 0, 0, time, False), 0, ends)
    d, woven = controller["num_heads"] * controller["head_dim"], controller["num_layers"]
    share = visible if controller["tokens"] == "visible" else 1.0
    joint = controller["attention"] == "joint"
    frame = L // t
    t, L = t + preceding, L + preceding * frame
    rows, anchor_tokens = (B, N * L) if joint else (B * N, L)
    teach = 2 * int(train_controller)
    return Step(
        blocks,
        Blocks(
            woven,
            rows,
            S * joined + round(share * anchor_tokens),
            d,
            time * joined,
            train_controller,
            controller["feed_forward"],
            S * (not joined),
        ),
        features=woven * B * L * D,
        ends=(
            *ends,
            (B * N * L * pixels * 2 * C * d, teach // 2),
            (2 * B * S * text * d, teach // 2),
            (2 * B * time * (d + (time if joined else 0)), teach),
            (0 if joined else 2 * B * (S + 7) * d**2, teach),
            (woven * 2 * B * L * d * D, teach),  # control features
            (woven * 2 * B * t * (6 * d + d * d // 2 + d * D), teach),  # camera features
        ),
    )

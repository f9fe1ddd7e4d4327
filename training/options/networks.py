"""NetworkConfig: the networks of a training, where they start, and which of them are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from anchorweave.models.checkpointing import Kept
from anchorweave.ranges import check_numbers, within


@dataclass(frozen=True)
class NetworkConfig:
    """What is trained, and what it starts from.

    Args:
        path: a folder in diffusers' layout with the backbone, or `tiny`, `tiny_wan`: small ones
            with random weights, of the clips' own size.
        controller: where its weights start: `new`, `from_backbone` (blocks copied from the
            backbone's first ones; needs `heads` equal to the backbone's), a folder that a
            controller was saved to, or a released `.pt`. `none`: the backbone is trained without
            memory, and no anchor is read.
        layers: layers of the backbone that are woven; null = as a saved controller says, and for
            another one the released share of the backbone's, 16 of 42 (Wan: 10 of 30). Like the
            four below, an error where a saved one says otherwise.
        every: which layers those are: every so many, from the first on; null likewise, 1.
        heads: attention heads; null likewise, 16 of 48, or the backbone's for `from_backbone`.
        fusion: `pose_guided` or `average`; null likewise, `pose_guided`.
        attention: `joint` or `separate`; null likewise, `joint`.
        tokens: `all` or `visible`; null likewise, `all`. A saved controller takes it on: its
            weights mean the same in both.
        holes: what anchors hold where nothing was seen: `black`, `cracks` or `filled`, which has
            to be what the data were precomputed with. A saved controller takes it on as well, to
            learn another kind than before. null = as the saved one says, `black` for a released
            `.pt`, and as the data say for all others.
        warm_start: a folder that a controller was saved to; a `new` controller starts from its
            weights instead of random ones. They may differ in what their weights mean the same in:
            `fusion`, `attention`, `tokens` and `holes`. null = random weights.
        train_controller: false keeps it as it starts, which has to be a trained one, to train the
            backbone beside it.
        backbone: `frozen`, a low-rank adapter on its attention (`lora`), or all of it (`full`).
        references: how references reach the backbone: `none`, `tokens` (joined to the video along
            frames, as Context-as-Memory and Spatia do), `attention` (historical cross-attention,
            as SPMem does), or a folder that such a network was saved to.
        train_references: false keeps that network as it starts.
        reference_cameras: whether `tokens` are told the cameras (Context-as-Memory: yes, Spatia:
            no); null = as a saved network says, and yes for a new one. Like the two below, an error
            where a saved one says otherwise.
        reference_interval: `attention` stands behind every so many blocks; null likewise, 14.
        reference_heads: its heads, of 128 channels or, in a backbone of fewer, of its own; null
            likewise, 16.
        lora_rank: rank of the adapter.
        lora_alpha: its scale is lora_alpha / lora_rank.
        gradient_checkpointing: recomputes the blocks in the backward pass: less memory, about a
            third more time.
        kept: what is not recomputed then: `nothing`, `attention_of_controller` or all `attention`;
            it costs as much memory as the tokens of each block, which `training.dry_run` prints.
        compile: `regional` compiles the blocks, each kind once: minutes at the start; not with
            `kept`, nor where weights are sharded.

    Raises:
        ValueError: a value out of range, nothing that is trained, or something that is kept as it
            starts and was not trained before.
    """

    path: str = "tiny"
    controller: str = "new"
    layers: int | None = within(None, at_least=1)
    every: int | None = within(None, at_least=1)
    heads: int | None = within(None, at_least=1)
    fusion: Literal["pose_guided", "average"] | None = None
    attention: Literal["joint", "separate"] | None = None
    tokens: Literal["all", "visible"] | None = None
    holes: Literal["black", "cracks", "filled"] | None = None
    warm_start: str | None = None
    train_controller: bool = True
    backbone: Literal["frozen", "lora", "full"] = "frozen"
    references: str = "none"
    train_references: bool = True
    reference_cameras: bool | None = None
    reference_interval: int | None = within(None, at_least=1)
    reference_heads: int | None = within(None, at_least=1)
    lora_rank: int = within(64, at_least=1)
    lora_alpha: int = within(64, at_least=1)
    gradient_checkpointing: bool = False
    kept: Kept = "nothing"
    compile: Literal["none", "regional"] = "none"

    def __post_init__(self):
        check_numbers(self, "network.")
        if self.kept != "nothing" and not self.gradient_checkpointing:
            raise ValueError(
                f"network.kept={self.kept} says what gradient checkpointing keeps, and there is "
                "none; set network.gradient_checkpointing=true, or leave it out"
            )
        if self.kept != "nothing" and self.compile != "none":
            raise ValueError(
                f"network.kept={self.kept} watches every operation of a block, which hides them "
                f"from network.compile={self.compile}; set one of them only"
            )
        learns = self.woven and self.train_controller
        learns = learns or (self.refers and self.train_references)
        if not learns and self.backbone == "frozen":
            raise ValueError(
                "network.train_controller=false (or network.controller=none), "
                "network.train_references=false (or network.references=none) and "
                "network.backbone=frozen leave nothing to train; train the controller, "
                "backbone=lora or full, or references=tokens or attention"
            )
        if self.warm_start is not None and self.controller != "new":
            raise ValueError(
                f"network.warm_start={self.warm_start} is where a new controller starts, but "
                f"network.controller={self.controller}; set network.controller=new, or leave "
                "warm_start out"
            )
        # These say nothing to the backbone before they are trained.
        untrained = self.controller in ("new", "from_backbone") and self.warm_start is None
        if not self.train_controller and untrained:
            raise ValueError(
                f"network.train_controller=false keeps network.controller={self.controller}, "
                "which says nothing to the backbone before it is trained; start from a trained "
                "one, such as network.controller=CHECKPOINT/controller, or leave it out with "
                "network.controller=none"
            )
        if not self.train_references and self.references == "attention":
            raise ValueError(
                "network.train_references=false keeps network.references=attention, which says "
                "nothing to the backbone before it is trained; start from a trained one, such as "
                "network.references=CHECKPOINT/references"
            )

    @property
    def woven(self) -> bool:
        """Whether there is a controller."""
        return self.controller != "none"

    @property
    def refers(self) -> bool:
        """Whether there is a reference network."""
        return self.references != "none"

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
        controller: where its weights start: a folder that a controller was saved to, or a released
            `.pt`; null = a new one.
        new_controller: how a new one starts: with `random` weights, or `from_backbone`, with copies
            of its first blocks (needs `heads` equal to the backbone's). `none`: there is none; the
            backbone is trained without memory, and no anchor is read.
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
        coverage: whether each token of an anchor is told which share of its pixels was seen; null
            likewise, false. An error where a saved one says otherwise.
        warm_start: a folder that a controller was saved to; a `new` controller starts from its
            weights instead of random ones. They may differ in what their weights mean the same in:
            `fusion`, `attention`, `tokens`, `holes` and `coverage`. null = random weights.
        train_controller: false keeps it as it starts, which has to be a trained one, to train the
            backbone beside it.
        train_backbone: `frozen`, a low-rank adapter on its attention (`lora`), or all of it
            (`full`).
        references: a folder that a reference network was saved to; null = a new one.
        new_references: how a new one gives references to the backbone: as `tokens`, joined to the
            video along frames (Context-as-Memory, Spatia), or by `attention`, historical
            cross-attention (SPMem). `none`: there is none.
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
    controller: str | None = None
    new_controller: Literal["random", "from_backbone", "none"] = "random"
    layers: int | None = within(None, at_least=1)
    every: int | None = within(None, at_least=1)
    heads: int | None = within(None, at_least=1)
    fusion: Literal["pose_guided", "average"] | None = None
    attention: Literal["joint", "separate"] | None = None
    tokens: Literal["all", "visible"] | None = None
    holes: Literal["black", "cracks", "filled"] | None = None
    coverage: bool | None = None
    warm_start: str | None = None
    train_controller: bool = True
    train_backbone: Literal["frozen", "lora", "full"] = "frozen"
    references: str | None = None
    new_references: Literal["none", "tokens", "attention"] = "none"
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
        check_numbers(self, "model.")
        for part, new in (("controller", "random"), ("references", "none")):
            saved, asked = getattr(self, part), getattr(self, f"new_{part}")
            if saved is not None and asked != new:
                raise ValueError(
                    f"model.{part}={saved} is a saved one, but model.new_{part}={asked} asks for "
                    f"another; set model.{part}=null or model.new_{part}={new}"
                )
        if self.kept != "nothing" and not self.gradient_checkpointing:
            raise ValueError(
                f"model.kept={self.kept} says what gradient checkpointing keeps, and there is "
                "none; set model.gradient_checkpointing=true, or leave it out"
            )
        if self.kept != "nothing" and self.compile != "none":
            raise ValueError(
                f"model.kept={self.kept} watches every operation of a block, which hides them "
                f"from model.compile={self.compile}; set one of them only"
            )
        learns = self.woven and self.train_controller
        learns = learns or (self.has_references and self.train_references)
        if not learns and self.train_backbone == "frozen":
            raise ValueError(
                "model.train_controller=false (or model.new_controller=none), "
                "model.train_references=false (or model.new_references=none) and "
                "model.train_backbone=frozen leave nothing to train; train the controller, or set "
                "model.train_backbone=lora or full, or model.new_references=tokens or attention"
            )
        new = self.controller is None and self.new_controller != "none"
        if self.warm_start is not None and not (new and self.new_controller == "random"):
            met = f"model.new_controller={self.new_controller}"
            if self.controller is not None:
                met = f"model.controller={self.controller}"
            raise ValueError(
                f"model.warm_start={self.warm_start} is where a new controller starts, but {met}; "
                "set model.controller=null and model.new_controller=random, or leave warm_start out"
            )
        # These change nothing in the backbone before they are trained.
        if not self.train_controller and new and self.warm_start is None:
            raise ValueError(
                f"model.train_controller=false keeps model.new_controller={self.new_controller}, "
                "which changes nothing before it is trained; start from a trained one, such as "
                "model.controller=CHECKPOINT/controller, or do without, model.new_controller=none"
            )
        if not self.train_references and self.new_references == "attention":
            raise ValueError(
                "model.train_references=false keeps model.new_references=attention, which changes "
                "nothing before it is trained; start from a trained one, such as "
                "model.references=CHECKPOINT/references"
            )

    @property
    def woven(self) -> bool:
        """Whether there is a controller."""
        return self.controller is not None or self.new_controller != "none"

    @property
    def has_references(self) -> bool:
        """Whether there is a reference network."""
        return self.references is not None or self.new_references != "none"

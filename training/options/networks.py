"""NetworkConfig: the networks of a training run, their initial weights, and which are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from anchorweave.models.checkpointing import Kept
from anchorweave.models.weaving.released_file import is_released_file
from anchorweave.ranges import check_numbers, within


@dataclass(frozen=True)
class NetworkConfig:
    """What is trained, and its initial weights.

    Args:
        path: a folder in diffusers' layout with the backbone, or `tiny`, `tiny_wan`: small ones
            with random weights, of the clips' own size.
        controller: initial weights: a folder with a saved controller, or a released file (`.pt`,
            `.safetensors`); null = a new one.
        released_weights: which weights of a released file to start from: its moving average or
            the live ones (its first stage has no moving average).
        new_controller: how a new one is initialised: with `random` weights, or `from_backbone`,
            with copies of its first blocks (needs `heads` equal to the backbone's). `none`: no
            controller; the backbone is trained without memory, and no anchors are read.
        layers: number of backbone layers with a controller layer; null = as saved, and for a new
            one the released fraction of the backbone's, 16 of 42 (Wan: 10 of 30). Like the four
            below, an error if a saved one differs.
        every: spacing of these layers, from the first on; null likewise, 1.
        heads: attention heads; null likewise, 16 of 48, or the backbone's for `from_backbone`.
        fusion: `pose_guided` or `average`; null likewise, `pose_guided`.
        attention: `joint` or `separate`; null likewise, `joint`.
        tokens: `all` or `visible`; null likewise, `all`. May be changed for a saved controller: its
            weights mean the same in both.
        holes: content of anchors where nothing was seen: `black`, `cracks` or `filled`; must match
            the precomputed data. May also be changed for a saved controller, to fine-tune it for
            other holes. null = as saved, `black` for a released file, and as in the data for all
            others.
        coverage: whether each token of an anchor includes the fraction of its pixels that was seen;
            null likewise, false. An error if a saved one differs.
        warm_start: a folder with a saved controller; a `new` controller starts from its weights
            instead of random ones. They may differ in settings that do not change the weights'
            meaning: `fusion`, `attention`, `tokens`, `holes` and `coverage`. null = random weights.
        train_controller: false freezes it, which requires a trained one, to train only the
            backbone.
        train_backbone: `frozen`, a low-rank adapter on its attention (`lora`), or all of it
            (`full`).
        references: a folder with a saved reference network; null = a new one.
        new_references: how a new one passes references to the backbone: as `tokens`, concatenated
            to the video along frames (Context-as-Memory, Spatia), or by `attention`, historical
            cross-attention (SPMem). `none`: no reference network.
        train_references: false freezes that network.
        reference_cameras: whether `tokens` include camera embeddings (Context-as-Memory: yes,
            Spatia: no); null = as saved, and yes for a new one. Like the two below, an error if a
            saved one differs.
        reference_interval: number of blocks between `attention` layers; null likewise, 14.
        reference_heads: its heads, of 128 channels, or as wide as the backbone's if it has fewer
            channels; null likewise, 16.
        lora_rank: rank of the adapter.
        lora_alpha: its scale is lora_alpha / lora_rank.
        gradient_checkpointing: recomputes the blocks in the backward pass: less memory, about a
            third more time.
        kept: what is then not recomputed: `nothing`, `attention_of_controller` or all `attention`;
            costs as much memory as the tokens of each block, which `training.dry_run` prints.
        compile: `regional` compiles the blocks, once per kind: takes minutes at the start; not with
            `kept`, nor with sharded weights.

    Raises:
        ValueError: a value out of range, nothing to train, or a frozen part that was never trained.
    """

    path: str = "tiny"
    controller: str | None = None
    released_weights: Literal["ema", "live"] = "ema"
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
        if self.released_weights != "ema" and not is_released_file(self.controller):
            raise ValueError(
                f"model.released_weights={self.released_weights} chooses within a released file, "
                f"and model.controller={self.controller} is none; leave it out (folders of a "
                "training end in _ema for the running average)"
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
        # These have no effect on the backbone before they are trained.
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

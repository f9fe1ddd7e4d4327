"""Estimates the GPU memory of a training step, and the disk space of a checkpoint.

Tensors are counted; allocator fragmentation and kernel workspaces are not.
"""

from __future__ import annotations

from dataclasses import dataclass

from anchorweave.models.checkpointing import Kept, kept_parts
from anchorweave.models.estimates.cards import PROCESS
from training.estimates.operations import Blocks, Looking, Step

# Bytes per token and unit of width that a block saves for its backward pass. With trained weights
# it saves the input of every product. In bf16 it runs under autocast, where norms output float32 on
# a GPU, as does one with a LoRA; a frozen block uses bfloat16 throughout.
BLOCK_BYTES = {
    "bf16": {"trained": 63, "adapted": 33, "frozen": 26},
    "fp32": {"trained": 94, "adapted": 50, "frozen": 50},
}
WORD = {"bf16": 2, "fp32": 4}


def block_bytes(blocks: Blocks, precision: str) -> int:
    """Bytes that one block saves for its backward pass."""
    kind = "trained" if blocks.trained else "adapted" if blocks.adapted else "frozen"
    saved = blocks.size * BLOCK_BYTES[precision][kind]
    # Six float32 vectors per token, if timesteps are per token.
    return saved + (24 * blocks.size if blocks.per_token_time else 0)


def looking_bytes(looking: Looking, precision: str) -> int:
    """Bytes that one cross-attention layer to references saves for its backward pass.

    For a video token: its norm's input and output, the query before and after its norm, and the
    attention output in two layouts; for a reference token: the token itself, the key before and
    after its norm, and the value.
    """
    dim, inner = looking.dim, looking.inner
    numbers = looking.queries * (2 * dim + 4 * inner) + looking.keys * (dim + 3 * inner)
    return looking.rows * numbers * WORD[precision]


def activations(step: Step, precision: str, checkpointing: bool, kept: Kept = "nothing") -> float:
    """Bytes held at the peak of the step, besides weights and their gradients.

    Args:
        step: one call of the networks.
        precision: `bf16` or `fp32`.
        checkpointing: whether blocks are recomputed.
        kept: which parts are not.
    """
    blocks = [block_bytes(stack, precision) for stack in step.stacks]
    looking = looking_bytes(step.looking, precision)
    if checkpointing:
        held = sum(stack.layers * stack.size for stack in step.stacks) * WORD[precision]
        held += max(blocks) + looking
        # One attention output per block, and another if text is read by cross-attention.
        held += sum(
            stack.layers * stack.size * (2 if stack.read else 1) * WORD[precision]
            for stack, keep in zip(step.stacks, kept_parts(kept), strict=True)
            if keep
        )
    else:
        held = sum(stack.layers * kept for stack, kept in zip(step.stacks, blocks, strict=True))
        held += step.looking.layers * looking
    # The features and their gradients, and half a block of intermediate gradients.
    return held + 2 * step.features * WORD[precision] + max(blocks) / 2


@dataclass(frozen=True)
class Weights:
    """Numbers of parameters.

    Args:
        frozen: in backbone and controller, stored in the short precision.
        trained: in float32.
    """

    frozen: int
    trained: int


def memory(
    step: Step,
    weights: Weights,
    strategy: str,
    world: int,
    checkpointing: bool,
    precision: str = "bf16",
    average: bool = True,
    kept: Kept = "nothing",
) -> dict[str, float]:
    """Bytes on one GPU by component; their sum estimates the peak.

    Args:
        step: one call of the networks on this GPU.
        weights: numbers of parameters.
        strategy: `ddp` keeps everything on every GPU, `zero2` shards gradients and optimiser
            states, `fsdp2` the weights as well.
        world: number of GPUs.
        checkpointing: whether blocks are recomputed in the backward pass.
        precision: `bf16` (autocast) or `fp32`.
        average: whether an EMA of the trained weights is kept.
        kept: what checkpointing does not recompute.

    Raises:
        ValueError: an unknown strategy.
    """
    if strategy not in ("ddp", "zero2", "fsdp2"):
        raise ValueError(f"strategy is one of ddp, zero2, fsdp2; got {strategy!r}")
    word, trained = WORD[precision], weights.trained
    share_weights = 1 / world if strategy == "fsdp2" else 1
    share_states = 1 if strategy == "ddp" else 1 / world
    parts = {
        "frozen_weights": word * weights.frozen * share_weights,
        "trained_weights": 4 * trained * share_weights,
        "running_average": 4 * trained * share_weights * average,
        "gradients": 4 * trained * share_states,
        "optimizer_states": 8 * trained * share_states,
    }
    if strategy == "fsdp2":
        # The active block and the prefetched one, of both networks.
        layers = step.controller.layers or step.backbone.layers
        block = word * weights.frozen / step.backbone.layers + 4 * trained / layers
        parts["gathered_weights"] = 2 * block
    if precision == "bf16":
        parts["autocast_copies"] = 2 * trained
    parts["activations"] = activations(step, precision, checkpointing, kept)
    parts["process"] = PROCESS
    return {name: float(size) for name, size in parts.items()}


def checkpoint_bytes(trained: int, average: bool) -> int:
    """Size of a resumable checkpoint: weights, AdamW's two states, and the EMA."""
    return 4 * trained * (3 + average)

"""FSDP2 shards every block of backbone and controller separately, whatever the backbone's family.

The classes of these blocks are taken from the networks, so that one launcher file serves all
families. Weaving replaces blocks only during a call, by modules that call them.
"""

from __future__ import annotations

from collections.abc import Mapping

from accelerate import FullyShardedDataParallelPlugin
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

from anchorweave.errors import EndedError
from anchorweave.models.denoiser import Denoiser

# Set by accelerate's launcher: its option, the environment variable, and the values that agree.
STATED = {
    "fsdp_transformer_layer_cls_to_wrap": ("FSDP_TRANSFORMER_CLS_TO_WRAP", ()),
    "fsdp_auto_wrap_policy": ("FSDP_AUTO_WRAP_POLICY", ("TRANSFORMER_BASED_WRAP",)),
}


def check_sharding(environ: Mapping[str, str]) -> None:
    """Refuses a launcher that states itself which modules to shard.

    Args:
        environ: environment of a process launched with FSDP.

    Raises:
        ValueError: names the launcher's option; a class of another family would shard nothing.
    """
    for option, (variable, agreeing) in STATED.items():
        value = environ.get(variable)
        if value is not None and value.upper() not in agreeing:
            raise ValueError(
                f"the launcher sets {option}={value}, but training shards the blocks of the "
                "backbone at model.path and of its controller, and finds their classes itself; "
                f"remove {option} from the launcher's file, as in "
                "configs/accelerate/eight_gpus_fsdp2.yaml"
            )


def blocks_of(denoiser: Denoiser) -> list[nn.Module]:
    """The blocks of its backbone and controller."""
    blocks = list(denoiser.family.blocks(denoiser.backbone))
    return blocks if denoiser.controller is None else [*blocks, *denoiser.controller.blocks]


def shard_blocks(plugin: FullyShardedDataParallelPlugin, denoiser: Denoiser) -> None:
    """Makes accelerate shard `blocks_of(denoiser)`; call it before accelerate prepares it."""
    plugin.auto_wrap_policy = transformer_auto_wrap_policy
    plugin.transformer_cls_names_to_wrap = sorted(
        {type(one).__name__ for one in blocks_of(denoiser)}
    )


def assert_blocks_sharded(denoiser: Denoiser) -> None:
    """Verifies that every block is sharded.

    Raises:
        EndedError: one is not; all weights would be gathered together.
    """
    whole = [type(one).__name__ for one in blocks_of(denoiser) if not isinstance(one, FSDPModule)]
    if whole:
        raise EndedError(f"asked for fsdp2, but {len(whole)} blocks ({whole[0]}) are not sharded")

from types import SimpleNamespace

import pytest
from accelerate import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy, fsdp2_prepare_model
from torch.distributed.device_mesh import init_device_mesh

from anchorweave.errors import EndedError
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.families import FAMILIES
from tests.models.small import small_backbone, small_controller
from training.engine.sharding import assert_blocks_sharded, blocks_of, shard_blocks
from training.networks.build import add_lora

KINDS = {
    "cogvideox": ["CogVideoXBlock"],
    "wan": ["WanControllerBlock", "WanTransformerBlock"],
}


def sharded_by_accelerate(denoiser):
    """Shards it as `Accelerator.prepare` does, which itself ignores FSDP on a CPU."""
    plugin = plugin_of_launcher()
    shard_blocks(plugin, denoiser)
    axis = ("ranks",)
    fsdp2_prepare_model(
        SimpleNamespace(
            state=SimpleNamespace(fsdp_plugin=plugin),
            torch_device_mesh=init_device_mesh("cpu", (2,), mesh_dim_names=axis),
            parallelism_config=SimpleNamespace(fsdp_dim_names=axis),
            mixed_precision="no",
            is_main_process=True,
        ),
        denoiser,
    )


def plugin_of_launcher():
    return FullyShardedDataParallelPlugin(fsdp_version=2, cpu_ram_efficient_loading=False)


def denoiser(family, controlled=True, lora=False):
    backbone = small_backbone(family=family)
    if lora:
        add_lora(backbone, rank=2, alpha=2)
    return Denoiser(backbone, small_controller(backbone) if controlled else None)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("controlled", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_blocks_of_every_family_are_sharded_and_nothing_else(family, controlled, lora):
    model, plugin = denoiser(family, controlled, lora), plugin_of_launcher()
    shard_blocks(plugin, model)
    kinds = KINDS[family] if controlled else [k for k in KINDS[family] if "Controller" not in k]
    assert plugin.transformer_cls_names_to_wrap == kinds
    plugin.set_auto_wrap_policy(model)
    chosen = fsdp2_prepare_auto_wrap_policy(plugin, model)
    # Three blocks of the backbone, two of the controller.
    assert len(blocks_of(model)) == (5 if controlled else 3)
    assert {m for m in model.modules() if chosen(m)} == set(blocks_of(model))


def test_blocks_that_were_not_sharded_end_the_run():
    with pytest.raises(EndedError, match="5 blocks .WanTransformerBlock. are not sharded"):
        assert_blocks_sharded(denoiser("wan"))

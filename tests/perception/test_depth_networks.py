"""The real network classes with tiny random weights, from YAML words to depth."""

import pytest
import torch
from transformers import (
    BeitConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    DepthProConfig,
    DepthProForDepthEstimation,
    Dinov2Config,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
)

from anchorweave.config import load_config
from anchorweave.perception import make_perception
from anchorweave.perception.depth_network import fitting, load_network
from anchorweave.run_config import RunConfig
from tests.alike import alike
from tests.rooms import walk


def dinov2(**sizes):
    return Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, **sizes
    )


def depth_anything(kind):
    backbone = dinov2(
        image_size=56,
        patch_size=14,
        out_features=["stage1", "stage2"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20 if kind == "metric" else 1,
    )
    return DepthAnythingForDepthEstimation(config)


def depth_pro():
    sizes = {"image_size": 32, "patch_size": 16}
    config = DepthProConfig(
        fusion_hidden_size=8,
        patch_size=32,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.2],
        scaled_images_feature_dims=[8, 8],
        image_model_config=dinov2(**sizes),
        patch_model_config=dinov2(**sizes),
        fov_model_config=dinov2(**sizes),
        use_fov_model=False,
    )
    return DepthProForDepthEstimation(config)


def zoe():
    backbone = BeitConfig(
        image_size=32,
        patch_size=16,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
    )
    config = ZoeDepthConfig(
        backbone_config=backbone,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        bottleneck_features=8,
        num_attractors=[4, 2, 2, 1],
        bin_embedding_dim=8,
        num_relative_features=4,
        bin_configurations=[{"n_bins": 4, "min_depth": 0.1, "max_depth": 10.0, "name": "nyu"}],
    )
    return ZoeDepthForDepthEstimation(config)


NETWORKS = {
    "depth_anything": lambda: depth_anything("metric"),
    "depth_pro": depth_pro,
    "zoe": zoe,
}


def lively(network):
    """Weights large enough that what it is shown makes a difference."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
    return network


def configured(name, folder, *words):
    return load_config(
        RunConfig, [f"perception={name}", f"perception.{name}.model={folder}", *words]
    ).perception


@pytest.fixture(scope="module", autouse=True)
def small_inputs():
    """Images as small as the tiny networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anchorweave.perception.depth_anything.SHORTER_SIDE", 42)
        patch.setattr("anchorweave.perception.zoe.SHORTER_SIDE", 64)
        yield


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_of_a_folder_become_depth(tmp_path, name):
    network = lively(NETWORKS[name]())
    network.save_pretrained(tmp_path / "weights")
    clip = walk(2)
    perceive = make_perception(name, configured(name, tmp_path / "weights"))
    inverse = perceive.inverse_depth(clip.frames[0], clip.cameras[0])
    assert inverse.shape == (24, 32) and inverse.isfinite().all() and (inverse >= 0).all()
    assert alike(perceive.inverse_depth(clip.frames[0], clip.cameras[0]), inverse)
    # Another frame is another picture to it.
    other = perceive.inverse_depth(1 - clip.frames[0], clip.cameras[0])
    assert not alike(other, inverse)


def test_depth_pro_takes_the_cameras_focal_length(tmp_path):
    lively(depth_pro()).save_pretrained(tmp_path / "weights")
    perceive = make_perception("depth_pro", configured("depth_pro", tmp_path / "weights"))
    clip = walk(1)
    near = perceive.inverse_depth(clip.frames[0], clip.cameras[0])
    clip.cameras.K[0, 0, 0] *= 2
    far = perceive.inverse_depth(clip.frames[0], clip.cameras[0])
    assert torch.allclose(far, near / 2)


def test_depth_anything_is_as_its_weights_say(tmp_path):
    for kind in ("relative", "metric"):
        depth_anything(kind).save_pretrained(tmp_path / kind)
        made = make_perception("depth_anything", configured("depth_anything", tmp_path / kind))
        assert made.metric == (kind == "metric")


@pytest.mark.parametrize("name", NETWORKS)
def test_without_weights_it_says_what_to_download(tmp_path, name):
    config = configured(name, "pretrained/none")
    with pytest.raises(FileNotFoundError, match="hf download .*pretrained/none"):
        make_perception(name, config)


def test_weights_of_another_network_are_refused(tmp_path):
    depth_anything("metric").save_pretrained(tmp_path / "weights")
    weights = tmp_path / "weights" / "model.safetensors"
    from safetensors.torch import load_file, save_file

    kept = {key: value for key, value in load_file(weights).items() if "head.conv3" not in key}
    save_file(kept, weights, metadata={"format": "pt"})
    config = configured("depth_anything", tmp_path / "weights").depth_anything
    with pytest.raises(FileNotFoundError, match="not a complete Depth.*2 weights are missing"):
        load_network(DepthAnythingForDepthEstimation, config, "depth_anything", "somewhere")


def test_sizes_fit_patches():
    assert fitting((128, 192), 56, 14) == (56, 84)

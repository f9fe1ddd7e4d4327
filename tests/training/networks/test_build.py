import shutil
from dataclasses import replace

import pytest
import torch

from anchorweave.datasets.mixture import open_clips
from anchorweave.datasets.training_clip import TrainingClip
from anchorweave.models.backbones import codec_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.references.historical_attention import HistoricalAttention
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.models.small.vae import VAEConfig, small_vae
from tests.models.small import small_backbone, small_controller
from tests.training.clips import write_clips, write_model
from training.networks.build import build_networks, check_holes, trained
from training.options.networks import NetworkConfig
from training.options.training import TrainConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_clips(root / "clips", count=1)
    write_model(root / "model")
    return root


@pytest.fixture
def clip(folder):
    return open_clips(folder / "clips")[0]


def empty_clip(t, C, h, w, S, D):
    T = 4 * (t - 1) + 1
    return TrainingClip(
        name="empty",
        latents=torch.zeros(t, C, h, w),
        image_latents=torch.zeros(1, C, h, w),
        prompt_features=torch.zeros(S, D),
        anchor_latents=torch.zeros(1, t, C, h, w),
        visible_tokens=torch.zeros(1, t, h // 2, w // 2, dtype=torch.bool),
        target2source=torch.eye(4).repeat(1, T, 1, 1),
        target2first=torch.eye(4).repeat(T, 1, 1),
        reference_latents=torch.zeros(0, C, h, w),
        reference2first=torch.zeros(0, 4, 4),
    )


def built(folder, clip, precision="bf16", **network):
    network = {"path": str(folder / "model"), "layers": 2, "heads": 2} | network
    config = TrainConfig(precision=precision, model=NetworkConfig(**network))
    return build_networks(config, clip)


@pytest.mark.parametrize("precision, short", [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_what_is_trained_is_float32_and_what_is_frozen_is_short(folder, clip, precision, short):
    networks = built(folder, clip, precision)
    names = set(trained(networks.denoiser))
    assert names == {f"controller.{n}" for n, _ in networks.denoiser.controller.named_parameters()}
    assert {p.dtype for p in networks.denoiser.controller.parameters()} == {torch.float32}
    assert {p.dtype for p in networks.denoiser.backbone.parameters()} == {short}
    assert networks.dtype == short


def test_an_adapter_alone_may_be_trained(folder, clip, tmp_path):
    backbone = small_backbone()
    small_controller(backbone).save_pretrained(tmp_path / "controller")
    ReferenceTokens.from_backbone(backbone).save_pretrained(tmp_path / "references")
    kept = {"controller": str(tmp_path / "controller"), "train_controller": False}
    kept |= {"references": str(tmp_path / "references"), "train_references": False}
    networks = built(folder, clip, train_backbone="lora", lora_rank=2, **kept)
    parameters = trained(networks.denoiser)
    assert parameters and all(".lora_" in name for name in parameters)
    assert {p.dtype for p in parameters.values()} == {torch.float32}
    # Queries, keys, values and what comes out, in each of 3 blocks, two matrices each.
    assert len(parameters) == 4 * 3 * 2


def test_the_whole_backbone_may_be_trained_in_float32(folder, clip):
    networks = built(folder, clip, train_backbone="full")
    assert {p.dtype for p in trained(networks.denoiser).values()} == {torch.float32}
    assert len(trained(networks.denoiser)) == len(list(networks.denoiser.parameters()))


def test_the_seed_decides_new_weights_and_nothing_else_does(folder, clip):
    first, second = (built(folder, clip).denoiser.controller for _ in range(2))
    torch.rand(7)
    config = TrainConfig(seed=8, model=NetworkConfig(path=str(folder / "model"), layers=2, heads=2))
    other = build_networks(config, clip).denoiser.controller
    weight = "blocks.0.attn1.to_q.weight"
    assert first.state_dict()[weight].equal(second.state_dict()[weight])
    assert not first.state_dict()[weight].equal(other.state_dict()[weight])


def test_a_controller_goes_on_from_a_folder_or_from_the_backbone(folder, clip, tmp_path):
    small_controller(small_backbone()).save_pretrained(tmp_path / "controller")
    saved = built(folder, clip, controller=str(tmp_path / "controller")).denoiser
    assert saved.controller.control_proj[0].weight.any()
    copied = built(folder, clip, new_controller="from_backbone", precision="fp32").denoiser
    key = copied.controller.blocks[1].attn1.to_q.weight
    assert key.equal(copied.backbone.transformer_blocks[1].attn1.to_q.weight)
    with pytest.raises(ValueError, match="model.heads=2"):
        built(folder, clip, new_controller="from_backbone", heads=1)
    with pytest.raises(FileNotFoundError, match="no controller checkpoint"):
        built(folder, clip, controller=str(tmp_path / "released.pt"))
    with pytest.raises(FileNotFoundError, match="model.controller=.*/none: it has no config.json"):
        built(folder, clip, controller=str(tmp_path / "none"))


def test_a_controller_is_for_anchors_with_the_holes_of_the_data(folder, clip, tmp_path):
    filled = replace(clip, holes="filled")
    for start in ("random", "from_backbone"):
        for data in (clip, filled):
            controller = built(folder, data, new_controller=start).denoiser.controller
            assert controller.config.holes == data.holes
    assert built(folder, filled, holes="filled").denoiser.controller.config.holes == "filled"
    with pytest.raises(
        ValueError, match=r"holes=black, the controller .* holes=filled; .* model.holes=black"
    ):
        built(folder, clip, holes="filled")
    saved = {"controller": str(tmp_path / "controller")}
    small_controller(small_backbone()).save_pretrained(saved["controller"])
    assert built(folder, clip, **saved).denoiser.controller.config.holes == "black"
    with pytest.raises(ValueError, match="holes=filled, the controller is one for holes=black"):
        built(folder, filled, **saved)
    # Told so, it goes on to learn them, and says so when it is saved again.
    on = built(folder, filled, holes="filled", **saved).denoiser.controller
    on.save_pretrained(tmp_path / "on")
    assert WeavingController.from_pretrained(tmp_path / "on").config.holes == "filled"
    # Nothing is read of anchors where nothing is woven.
    built(folder, filled, new_controller="none", train_backbone="lora")


def test_clips_of_another_model_are_refused_before_any_step(folder):
    with pytest.raises(ValueError, match="features 99 wide, the backbone expects 12"):
        built(folder, empty_clip(3, 4, 4, 6, 5, 99))
    with pytest.raises(ValueError, match="latents of 16 channels, the backbone of 4"):
        built(folder, empty_clip(3, 16, 4, 6, 5, 12))


def test_the_tiny_model_is_made_for_the_clips(folder):
    networks = built(folder, empty_clip(2, 16, 4, 8, 32, 64), path="tiny", layers=3)
    assert networks.denoiser.backbone.config.sample_width == 8
    assert networks.positions[0].shape[0] == 2 * 2 * 4


def test_a_model_folder_knows_its_own_compression(folder, tmp_path):
    """Four times in space: the backbone's table is laid out by its own latents."""
    shutil.copytree(folder / "model", tmp_path / "model")
    vae = small_vae(VAEConfig(channels=(8, 8, 16), latent_channels=4), (16, 24), 0)
    vae.save_pretrained(tmp_path / "model" / "vae")
    networks = built(tmp_path, empty_clip(3, 4, 4, 6, 5, 12))
    codec = codec_of(networks.parts.vae(torch.float32))
    video = codec.decode(torch.zeros(1, 3, 4, 4, 6))
    assert video.shape == (1, 9, 3, 16, 24)
    assert networks.positions[0].shape[0] == 3 * 2 * 3


def test_without_a_controller_there_is_the_backbone_alone(folder, clip):
    networks = built(
        folder, clip, new_controller="none", train_backbone="full", gradient_checkpointing=True
    )
    assert networks.denoiser.controller is None
    assert networks.denoiser.backbone.gradient_checkpointing
    names = {name.split(".")[0] for name in trained(networks.denoiser)}
    assert names == {"backbone"}


def test_every_data_set_of_a_mixture_has_the_controllers_holes(folder, clip):
    controller = built(folder, clip, holes=clip.holes).denoiser.controller
    same = {"a": clip.holes, "b": clip.holes}
    check_holes(controller, same)
    check_holes(None, {"a": "black", "b": "filled"})
    other = "cracks"
    with pytest.raises(ValueError, match=rf"but b has holes={other}; precompute all data sets"):
        check_holes(controller, same | {"b": other})


@pytest.mark.parametrize(
    "option, other, trained_with",
    [
        ("fusion", "average", "pose_guided"),
        ("attention", "separate", "joint"),
        ("layers", 1, "2"),
        ("heads", 1, "2"),
    ],
)
def test_what_contradicts_a_saved_controller_is_refused(
    folder, clip, tmp_path, option, other, trained_with
):
    """Silently ignored, an ablation would train what it is compared with."""
    saved = {"layers": None, "heads": None, "controller": str(tmp_path / "controller")}
    small_controller(small_backbone()).save_pretrained(saved["controller"])
    own = WeavingController.from_pretrained(saved["controller"]).config
    agreed = {"layers": own.num_layers, "heads": own.num_heads, "fusion": own.fusion}
    built(folder, clip, **saved | agreed)
    message = f"model.{option}={other}, but .*controller was trained with {trained_with}"
    with pytest.raises(ValueError, match=message):
        built(folder, clip, **saved | {option: other})


def test_a_saved_controller_takes_on_which_tokens_attend(folder, clip, tmp_path):
    saved = {"layers": None, "heads": None, "controller": str(tmp_path / "controller")}
    small_controller(small_backbone()).save_pretrained(saved["controller"])
    assert built(folder, clip, **saved).denoiser.controller.config.tokens == "all"
    on = built(folder, clip, **saved, tokens="visible").denoiser.controller
    assert on.config.tokens == "visible"
    on.save_pretrained(tmp_path / "on")
    assert WeavingController.from_pretrained(tmp_path / "on").config.tokens == "visible"


def test_untold_a_new_controller_has_the_released_share_of_the_backbone(folder, clip):
    new = built(folder, clip, layers=None, heads=None).denoiser.controller.config
    # 3 blocks of 2 heads: 16 of 42 and 16 of 48.
    assert (new.num_layers, new.num_heads) == (1, 1)
    assert (new.fusion, new.attention, new.tokens) == ("pose_guided", "joint", "all")
    copied = built(folder, clip, heads=None, new_controller="from_backbone").denoiser.controller
    assert copied.config.num_heads == 2


@pytest.mark.parametrize(
    "new, option, other, trained_with",
    [
        (ReferenceTokens.from_backbone, "reference_cameras", False, "true"),
        (HistoricalAttention.from_backbone, "reference_interval", 2, "14"),
        (HistoricalAttention.from_backbone, "reference_heads", 2, "16"),
    ],
)
def test_what_contradicts_a_saved_reference_network_is_refused(
    folder, clip, tmp_path, new, option, other, trained_with
):
    new(small_backbone()).save_pretrained(tmp_path / "references")
    saved = {"references": str(tmp_path / "references")}
    built(folder, clip, **saved)
    message = f"model.{option}=.*references was trained with {trained_with}"
    with pytest.raises(ValueError, match=message):
        built(folder, clip, **saved, **{option: other})

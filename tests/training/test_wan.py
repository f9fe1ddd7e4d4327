"""A small Wan from a recording to an evaluated row, by its YAML files alone; and what it costs."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from anchorweave.config import load_config
from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.diffusion.flow_matching import FlowMatching
from anchorweave.models.backbones import family_of
from anchorweave.models.backbones.wan_config import PUBLISHED_5B
from anchorweave.models.controller import WeavingController
from anchorweave.models.denoiser import Denoiser
from inference.evaluate import main as evaluate
from inference.generate import main as generate
from inference.rollout import main as rollout
from inference.sample import main as sample
from tests.models.small import (
    S,
    h,
    small_anchors,
    small_backbone,
    small_call,
    small_controller,
    small_image,
    t,
    w,
)
from tests.training import runs
from tests.training.runs import losses, train_here
from tests.training.small_data import write_room
from training.dry_run import describe, estimate
from training.engine.batches import DrawnClips, Place, stacked
from training.engine.step import batch_losses
from training.estimates.operations import training_step
from training.estimates.run_shapes import WAN_CLIPS
from training.networks.build import build_networks
from training.options.training import TrainConfig
from training.precompute_latents import main as precompute
from training.prepare_clips import main as prepare

SMALL = ["frames=5", "size=[32,64]", "retrieval.chunk=2"]
TRAIN = "config=configs/train/tiny_wan.yaml"
SAMPLE = ["config=configs/tiny_wan.yaml", "split.step=null", "sampling.steps=2", *SMALL]


def train_config(data, output, *words):
    few = ["batch=2", "batch_per_process=2", "checkpoints.every_steps=2", "optimizer.warmup=1"]
    return load_config(TrainConfig, [TRAIN, f"data.train={data}", f"output={output}", *few, *words])


one_thread = runs.one_thread


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return write_room(tmp_path_factory.mktemp("room") / "room")


@pytest.fixture(scope="module")
def data(room, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared") / "clips"
    words = [f"source={room}", f"output={output}", "clips_per_recording=null", *SMALL]
    prepare(["config=configs/data/prepare_tiny_wan.yaml", *words])
    precompute(["config=configs/data/precompute_tiny_wan.yaml", f"data={output}"])
    return output


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Four steps, stopped after two and gone on with; with a sampled video."""
    output = tmp_path_factory.mktemp("train") / "run"
    train_here(train_config(data, output, "steps=2"))
    videos = [f"data.validation={data}", "validation.videos=1", "validation.steps=1"]
    train_here(train_config(data, output, "steps=4", *videos))
    return output


def controller_of(trained):
    return f"model.controller={trained}/checkpoints/step-00000004/controller_ema"


def test_clips_are_encoded_by_its_networks(data):
    clip = LatentClips(data)[0]
    assert clip.latents.shape == (2, 8, 2, 4) and clip.visible_tokens.shape[2:] == (1, 2)
    # Zeros behind the text.
    features = clip.prompt_features
    assert features.shape == (32, 64) and features[0].any() and not features[-1].any()


def test_it_trains_goes_on_and_samples(trained, data):
    assert list(losses(trained)) == [0, 1, 2, 3]
    record = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert any("validation/psnr" in one for one in record)
    whole = trained.parent / "whole"
    train_here(train_config(data, whole, "steps=4"))
    for step, values in losses(whole).items():
        assert values == pytest.approx(losses(trained)[step], rel=1e-4)


def test_an_adapter_is_trained_beside_the_controller(trained, data, tmp_path):
    controller = f"model.controller={trained}/checkpoints/step-00000004/controller_ema"
    words = ["model.layers=null", "model.heads=null", "model.train_controller=false"]
    adapter = ["model.train_backbone=lora", "model.lora_rank=2", "model.new_references=tokens"]
    shift = ["draw.timestep.kind=uniform", "draw.timestep.shift=5"]
    train_here(
        train_config(data, tmp_path / "run", "steps=2", controller, *words, *adapter, *shift)
    )
    assert (tmp_path / "run" / "checkpoints" / "step-00000002" / "backbone_lora").is_dir()


def test_the_given_frame_carries_no_loss(data, tmp_path):
    config = train_config(data, tmp_path, "objective.motion_weight=0.2")
    clips = LatentClips(data)
    networks = build_networks(config, clips[0])
    assert isinstance(networks.process, FlowMatching)
    drawn = DrawnClips(clips, config.draw, networks.process, 0, clips.empty_prompt())
    batch = stacked([drawn[Place(0, place, place)] for place in (0, 1)])
    assert batch.timestep.is_floating_point() and not batch.image_noise.any()

    def offset(by):
        def change(module, args, answer):
            moved = answer.clone()
            moved[:, 0] += by
            return moved

        return change

    def loss(by):
        hook = networks.denoiser.register_forward_hook(offset(by))
        found = batch_losses(
            networks.denoiser,
            batch,
            networks.process,
            networks.positions,
            config.objective,
            torch.float32,
        )
        hook.remove()
        return found

    torch.testing.assert_close(loss(100.0).total, loss(0.0).total)


def test_sampled_rolled_out_and_evaluated(trained, room, tmp_path):
    source, controller = f"source={room}", controller_of(trained)
    sample([*SAMPLE, source, controller, f"output={tmp_path / 'sample'}"])
    assert (tmp_path / "sample" / "generated.mp4").is_file()
    memory = f"memory.path={tmp_path / 'sample' / 'memory'}"
    rollout(
        [*SAMPLE, source, controller, memory, f"output={tmp_path / 'roll'}", "rollout.segments=1"]
    )
    assert (tmp_path / "roll" / "rollout.mp4").is_file()
    row = ["row=wan", "samples=1", "batch=1", f"output={tmp_path / 'rows'}"]
    generate([*SAMPLE, source, controller, *row])
    evaluate(
        [
            f"rows={tmp_path / 'rows' / 'partial_revisit'}",
            f"output={tmp_path / 'table'}",
            "resamples=10",
        ]
    )
    results = json.loads((tmp_path / "table" / "results.json").read_text())
    assert 0 < results["rows"]["wan"]["metrics"]["psnr"]["mean"] < 60


@pytest.mark.parametrize(
    "words, said",
    [
        (["size=[480,720]"], "divisible by 32; the nearest such size is \\[480, 704\\]"),
        (["frames=48"], "frames=48 do not fit the VAE, which accepts 5, 9, 13"),
    ],
)
def test_clips_that_do_not_fit_are_refused(words, said, room, tmp_path):
    with pytest.raises(ValueError, match=said):
        prepare(
            [
                "config=configs/data/prepare_wan_480x832.yaml",
                f"source={room}",
                f"output={tmp_path}",
                *words,
            ]
        )


def test_clips_of_the_other_family_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match="latents of 8 channels, the backbone of 16"):
        build_networks(train_config(data, tmp_path, "model.path=tiny"), LatentClips(data)[0])


def test_the_published_sizes_have_five_billion_parameters():
    words = ["config=configs/train/wan22_5b.yaml", "data.train=nowhere/clips"]
    report = describe(load_config(TrainConfig, [*words, "data.validation=null"]))
    # Wan2.2-TI2V-5B's own weights: 9.99 GB in half precision.
    assert report["parameters"]["backbone"] == 4_999_787_712
    assert "Wan2.2-TI2V-5B as published" in report["backbone_from"]
    assert report["tokens"] == {
        "backbone": 8190,
        "controller": 4 * 8190,
        "controller_rows": 1,
        "references": 0,
        "preceding": 0,
    }
    config = load_config(TrainConfig, words)
    assert estimate(config, PUBLISHED_5B, WAN_CLIPS, 8, family_of(small_backbone(family="wan")))


@pytest.mark.parametrize("full", [False, True])
def test_operations_are_those_that_torch_counts(full):
    backbone = small_backbone(family="wan").requires_grad_(full)
    controller = small_controller(backbone)
    denoiser = Denoiser(backbone, controller)
    call = small_call(backbone)
    with (
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        denoiser(image_latents=small_image(), anchors=small_anchors(), **call).sum().backward()
    step = training_step(
        family_of(backbone).sizes(backbone),
        controller.config,
        batch=1,
        anchors=3,
        latent_size=(t, h, w),
        text_tokens=S,
        train_backbone=full,
    )
    # Without what is no block's: poses' weights, and gradients of the first layers' inputs.
    assert step.forward + step.backward == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_every_other_layer_is_woven(tmp_path):
    backbone = small_backbone(family="wan")
    controller = small_controller(backbone, every=2)
    assert controller.config.every == 2 and len(controller.blocks) == 2
    with pytest.raises(ValueError, match="every 2-th of them; num_layers must be between 1 and 2"):
        WeavingController.from_backbone(backbone, num_layers=3, num_heads=2, every=2)
    before, after = {}, {}

    def kept(into):
        return [
            block.register_forward_hook(lambda m, a, out, i=i: into.__setitem__(i, a[0].clone()))
            for i, block in enumerate(backbone.blocks)
        ]

    call, image = small_call(backbone), small_image()
    with torch.no_grad():
        hooks = kept(before)
        Denoiser(backbone, None)(image_latents=image, anchors=small_anchors(), **call)
        for hook in hooks:
            hook.remove()
        hooks = kept(after)
        denoiser = Denoiser(backbone, controller)
        # Behind blocks 0 and 2: what block 2 is given has passed block 1 alone since.
        denoiser(image_latents=image, anchors=small_anchors(), camera_weight=0.0, **call)
        for hook in hooks:
            hook.remove()
        control = controller(
            family_of(backbone)
            .read_call(
                backbone,
                (),
                dict(
                    zip(
                        ("hidden_states", "timestep"),
                        family_of(backbone).condition(
                            call["noisy_latents"], image, call["timestep"]
                        ),
                        strict=True,
                    )
                )
                | {"encoder_hidden_states": call["prompt_features"]},
            )
            .latents,
            call["prompt_features"],
            call["timestep"],
            small_anchors(),
            call["positions"],
        )
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[1] - control[0], before[1])
    assert (after[2] - before[2]).abs().max() > 1e-3

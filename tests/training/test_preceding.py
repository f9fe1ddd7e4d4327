"""Spatia's preceding frames on a small Wan: from a recording to a rollout; and what they cost."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from anchorweave.config import load_config
from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.models.backbones import family_of
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.pipelines import weaving
from inference.rollout import main as rollout
from tests.models.small import (
    S,
    h,
    small_anchors,
    small_backbone,
    small_call,
    small_controller,
    small_image,
    small_preceding,
    small_references,
    t,
    w,
)
from tests.training import runs
from tests.training.runs import train_here
from tests.training.small_data import write_room
from training.dry_run import DryRunConfig, describe
from training.engine.batches import DrawnClips, Place
from training.engine.step import batch_losses
from training.estimates.operations import training_step
from training.estimates.references import with_references
from training.networks.build import build_networks
from training.options.training import TrainConfig
from training.precompute_latents import main as precompute
from training.prepare_clips import main as prepare

SMALL = ["frames=5", "size=[32,64]", "memory.global_cloud.references=1"]
SPATIA = [
    *("config=configs/train/tiny_wan.yaml", "data.memory=global_cloud"),
    *("model.new_references=tokens", "model.reference_cameras=false"),
    *("draw.preceding_noise=[0,50]", "batch=1", "batch_per_process=1", "optimizer.warmup=1"),
]
MEMORY = ["memory.global_cloud.preceding=5"]

one_thread = runs.one_thread


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return write_room(tmp_path_factory.mktemp("room") / "room")


@pytest.fixture(scope="module")
def data(room, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared") / "clips"
    split = ["split.kind=later", "split.step=null", "memories=[global_cloud]"]
    words = [f"source={room}", f"output={output}", *SMALL, *MEMORY, *split]
    prepare(["config=configs/data/prepare_tiny_wan.yaml", *words])
    precompute(["config=configs/data/precompute_tiny_wan.yaml", f"data={output}"])
    return output


def config_of(data, output, *words):
    return load_config(TrainConfig, [*SPATIA, f"data.train={data}", f"output={output}", *words])


def test_from_a_recording_to_a_rollout(data, room, tmp_path, monkeypatch):
    clip = LatentClips(data, "global_cloud")[0]
    assert clip.preceding.latents.shape == (1, 2, 8, 2, 4)
    assert clip.preceding.anchors.latents.shape == (1, 1, 2, 8, 2, 4)
    assert clip.preceding.anchors.visible_tokens.any() and len(clip.reference_latents) == 1
    validated = [f"data.validation={data}", "validation.videos=1", "validation.steps=1"]
    train_here(config_of(data, tmp_path / "run", "steps=2", "validation.every=2", *validated))
    saved = tmp_path / "run" / "checkpoints" / "step-00000002"
    given, encode = [], weaving.encode_preceding

    def spied(codec, retrieved, *rest):
        given.append(retrieved[0].preceding)
        return encode(codec, retrieved, *rest)

    monkeypatch.setattr(weaving, "encode_preceding", spied)
    rollout(
        ["config=configs/tiny_wan.yaml", *SMALL, *MEMORY, "split.step=null", "sampling.steps=1"]
        + [f"source={room}", f"output={tmp_path / 'roll'}", "memory.kind=global_cloud"]
        + ["rollout.seen=2", "rollout.segments=2", "fps=8"]
        + [f"model.{part}={saved / part}" for part in ("controller", "references")]
    )
    # Two frames are remembered before the first segment, six before the second.
    first, second = given
    assert first is None and second.frames.shape == (5, 3, 32, 64)
    assert (tmp_path / "roll" / "rollout.mp4").is_file()


def test_nothing_is_lost_on_them(data, tmp_path):
    config = config_of(data, tmp_path)
    clips = LatentClips(data, "global_cloud")
    networks = build_networks(config, clips[0])
    samples = DrawnClips(clips, config.draw, networks.process, 0, clips.empty_prompt())[
        Place(0, 0, 0)
    ]
    ahead = samples.references.latents.shape[1] + samples.preceding.latents.shape[1]
    per_frame = 2

    def loss(places):
        def change(module, args, tokens):
            moved = tokens.clone()
            moved[:, places] += torch.randn(moved[:, places].shape)
            return moved

        hook = networks.denoiser.backbone.blocks[-1].register_forward_hook(change)
        given = (networks.process, networks.positions, config.objective, torch.float32)
        with torch.no_grad():
            found = batch_losses(networks.denoiser, samples, *given).total
        hook.remove()
        return found

    nowhere, before, within = (slice(0, n * per_frame) for n in (0, ahead, ahead + 2))
    torch.testing.assert_close(loss(before), loss(nowhere))
    assert not torch.allclose(loss(within), loss(nowhere))


def test_operations_are_those_that_torch_counts():
    backbone = small_backbone(family="wan").requires_grad_(False)
    controller = small_controller(backbone)
    network = ReferenceTokens.from_backbone(backbone, cameras=False)
    denoiser = Denoiser(backbone, controller, network)
    given = {"references": small_references(R=2), "preceding": small_preceding()}
    given |= {"image_latents": small_image(), "anchors": small_anchors()}
    with (
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        denoiser(**given, **small_call(backbone)).sum().backward()
    sizes, shape = family_of(backbone).sizes(backbone), {"batch": 1, "latent_size": (t, h, w)}
    step = training_step(sizes, controller.config, anchors=3, text_tokens=S, preceding=2, **shape)
    step = with_references(step, sizes, network, count=2, preceding=2, **shape)
    assert step.forward + step.backward == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_a_network_that_joins_no_frames_is_refused_before_training(data, tmp_path):
    words = ["model.new_references=attention", "model.reference_cameras=null"]
    with pytest.raises(ValueError, match="HistoricalAttention does not support preceding frames"):
        build_networks(config_of(data, tmp_path, *words), LatentClips(data, "global_cloud")[0])


def test_the_dry_run_counts_them(data):
    def tokens(*words):
        report = describe(load_config(DryRunConfig, words))
        return report["tokens"], report["tflops_per_step"]["forward"]

    paper = ["config=configs/train/spatia_wan22_stage1.yaml", "data.train=nowhere/clips"]
    nine, more = tokens(*paper, "preceding=9")
    none, fewer = tokens(*paper)
    assert nine["preceding"] == 3 * 390 and none["preceding"] == 0 and more > fewer
    assert nine["backbone"] == none["backbone"] + 3 * 390 == (7 + 3 + 21) * 390
    assert nine["controller"] == (3 + 21) * 390
    found, _ = tokens(*SPATIA, f"data.train={data}")
    assert found["preceding"] == 2 * 2 and found["controller"] == (2 + 2) * 2
    with pytest.raises(ValueError, match="preceding=8 frames are no clip"):
        load_config(DryRunConfig, [*paper, "preceding=8"])
    with pytest.raises(ValueError, match="preceding=9 frames are joined to the video by a network"):
        load_config(DryRunConfig, ["config=configs/train/tiny_wan.yaml", "preceding=9"])
    with pytest.raises(ValueError, match="HistoricalAttention does not support preceding frames"):
        tokens(*paper, "model.new_references=attention", "preceding=9")

import json
from dataclasses import replace

import pytest
import torch

from anchorweave.memory import MEMORIES, GlobalCloudConfig, MemoryConfig
from anchorweave.models.backbones import codec_of, family_of
from anchorweave.models.estimates.cards import GIB, PROCESS
from anchorweave.models.estimates.live_bytes import LiveBytes
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.models.small.tiny_models import TINY
from anchorweave.run_config import ModelConfig, SamplingConfig
from inference.dry_run import SamplingDryRunConfig, _seconds, main
from inference.estimates.autoencoder import decoding, encoding
from inference.estimates.networks import bytes_of, networks_of, tensors_of
from inference.estimates.residence import largest_layer, weights_there
from inference.estimates.stages import Taken, Video, denoising
from training.estimates.operations import training_step

FRAMES, SIZE, TILE = 5, (64, 96), 64
VIDEO = (f"frames={FRAMES}", "size=[64,96]")


def config_of(path="tiny", **model):
    plain = SamplingConfig(dynamic_guidance=False, steps=10)
    return SamplingDryRunConfig(
        model=ModelConfig(path=path, **model), frames=FRAMES, size=SIZE, sampling=plain
    )


def video_of(networks, anchors=4, references=0):
    latents = codec_of(networks.parts["vae"]).shape(FRAMES, SIZE, 2)
    return Video(FRAMES, SIZE, latents, anchors, references)


@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize("path", TINY)
def test_the_autoencoder_takes_what_it_really_takes_on_a_cpu(path, tiled):
    networks = networks_of(config_of(path))
    video = video_of(networks)
    vae = TINY[path].components(frames=FRAMES, size=SIZE)["vae"].eval()
    codec = codec_of(vae)
    for one in (codec, codec_of(networks.parts["vae"])):
        one.lay_out_tiles(TILE)
    if tiled:
        vae.enable_tiling()
    t, h, w = video.latents
    latents = torch.zeros(1, t, codec.channels, h, w)
    signed = torch.zeros(1, 3, FRAMES, *SIZE)
    works = {
        "decoding": (lambda: codec.decode(latents), decoding, 0),
        "encoding": (lambda: vae.encode(signed).latent_dist.mode(), encoding, signed.nbytes),
    }
    for name, (work, estimate, given) in works.items():
        with torch.no_grad(), LiveBytes(tensors_of(vae), "cpu") as live:
            weights = live.now
            work()
        met = live.peak - weights + given
        # Convolutions on a CPU may keep a tensor in another layout. Wan folds pixels back once for
        # all tiles; a tile alone is counted with copies of its own.
        rel = 0.15 if (path, tiled, name) == ("tiny_wan", True, "decoding") else 0.1
        assert estimate(networks, video, tiled).held == pytest.approx(met, rel=rel), name


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("path", TINY)
def test_operations_of_a_call_are_those_of_a_training_steps_forward_pass(path, batch):
    networks = networks_of(config_of(path))
    video, backbone = video_of(networks), networks.parts["transformer"]
    sizes = family_of(backbone).sizes(backbone)
    for share, controller in ((1.0, networks.parts["controller"].config), (None, None)):
        step = training_step(
            sizes,
            controller,
            batch=batch,
            anchors=4,
            latent_size=video.latents,
            text_tokens=sizes.text_tokens,
        )
        met = denoising(networks, video, batch, share).operations
        # Networks as small as these spend a part on what is not counted there.
        assert met == pytest.approx(step.forward, rel=0.05)


def test_hidden_tokens_and_halves_of_guidance_take_less():
    networks = networks_of(config_of())
    controller = networks.parts["controller"]
    controller.register_to_config(tokens="visible")
    video = video_of(networks)
    all_of_them, half = (denoising(networks, video, 2, share) for share in (1.0, 0.5))
    assert half.operations < all_of_them.operations and half.held < all_of_them.held
    one = denoising(networks, video, 1, 0.5)
    assert one.operations == pytest.approx(half.operations / 2, rel=0.01)
    assert one.held < half.held
    alone = denoising(networks, video, 1, None)
    assert alone.operations < one.operations
    written_out = denoising(networks, video, 2, 1.0, fused=False)
    assert written_out.held > all_of_them.held
    # The features of one call, for every woven layer.
    sizes = networks.family.sizes(networks.parts["transformer"])
    features = 4 * controller.config.num_layers * sizes.backbone_dim * 2 * 4 * 6
    reused = denoising(networks, video, 1, 0.5, control_every=2)
    assert one.held <= reused.held <= one.held + 2 * features


@pytest.mark.parametrize("path", TINY)
def test_references_take_their_part(path):
    networks = networks_of(config_of(path))
    with torch.device("meta"):
        reads = ReferenceTokens.from_backbone(networks.parts["transformer"]).eval()
    wider = replace(networks, parts={**networks.parts, "references": reads})
    video = video_of(networks)
    with_references = denoising(wider, replace(video, references=3), 1, 1.0)
    assert with_references.operations > denoising(networks, video, 1, 1.0).operations
    # Without a network that joins them they are ignored, as in sampling.
    ahead = replace(video, preceding=FRAMES)
    assert denoising(networks, ahead, 1, 1.0) == denoising(networks, video, 1, 1.0)
    plain = denoising(wider, replace(video, references=1), 1, 1.0)
    joined = denoising(wider, replace(ahead, references=1), 1, 1.0)
    # As many tokens again, of backbone and controller.
    assert 1.6 < joined.operations / plain.operations < 2.6 and joined.held > plain.held


def test_preceding_frames_are_those_of_the_memory_system():
    cloud = MemoryConfig(kind="global_cloud", global_cloud=GlobalCloudConfig(preceding=9))
    assert MEMORIES["global_cloud"].preceding_frames(cloud) == 9
    assert MEMORIES["local_clouds"].preceding_frames(cloud) == 0


def test_weights_on_the_gpu_are_those_of_the_option():
    networks = networks_of(config_of())
    parts = {name: bytes_of(part) for name, part in networks.parts.items()}
    for works in ("text_encoder", "transformer", "vae"):
        assert weights_there(networks, works, "none") == sum(parts.values())
    beside = parts["controller"] + parts["vae"]
    assert weights_there(networks, "text_encoder", "model") == beside + parts["text_encoder"]
    assert weights_there(networks, "vae", "model") == beside
    backbone = networks.parts["transformer"]
    blocks = [bytes_of(block) for block in networks.family.blocks(backbone)]
    rest = parts["transformer"] - sum(blocks)
    assert weights_there(networks, "transformer", "group") == beside + rest + 2 * blocks[0]
    # T5's blocks lie one level deeper, where diffusers leaves them together.
    assert weights_there(networks, "text_encoder", "group") == beside + parts["text_encoder"]


def test_float8_is_counted_as_it_lies_there_and_as_it_is_cast():
    networks = networks_of(config_of())
    short = networks.stored_in("float8")
    backbone = short.parts["transformer"]
    in_float8 = sum(p.numel() for p in backbone.parameters() if p.dtype == torch.float8_e4m3fn)
    # Of four bytes a weight one is left; norms and what diffusers skips keep theirs.
    assert in_float8 > 0.5 * sum(p.numel() for p in backbone.parameters())
    assert bytes_of(backbone) == bytes_of(networks.parts["transformer"]) - 3 * in_float8
    # The networks that it was made of stay as they were.
    assert {p.dtype for p in networks.parts["transformer"].parameters()} == {torch.float32}
    call = (video_of(networks), 1, 1.0)
    # Each layer is cast when it is called: as large as the largest at most, at the height.
    met = denoising(short, *call).held - denoising(networks, *call).held
    assert 0 <= met <= 4 * largest_layer(backbone)


def test_the_report_has_the_stages_heights_and_the_row_that_was_asked_for(capsys, tmp_path):
    words = ["model.path=tiny", "model.controller=null", "model.tile_vae=true", *VIDEO]
    main([*words, f"report={tmp_path / 'new' / 'report.json'}"])
    assert "{" not in capsys.readouterr().out
    report = json.loads((tmp_path / "new" / "report.json").read_text())
    assert report["networks_from"] == "tiny"
    rows = report["memory_gib"]
    choices = {(row["offload"], row["storage"], row["tile_vae"]) for row in rows}
    assert len(rows) == len(choices) == 12
    (asked,) = [row for row in rows if row["asked"]]
    assert (asked["offload"], asked["storage"], asked["tile_vae"]) == ("none", "dtype", True)
    weights = sum(one["gib"] for one in report["networks"].values())
    for row in rows:
        assert row["total"] == max(row["stages"].values()) == row["stages"][row["peaks"]]
        assert row["fits"] == ["24", "40", "80", "141"]
    # The embedded model's config, the default, samples without guidance.
    step = next(one for one in report["steps"] if one["guidance"] == "unguided")
    expected = weights + step["gib"] + PROCESS / GIB
    assert asked["stages"]["denoising"] == pytest.approx(expected)
    seconds = report["seconds"]
    assert seconds["video"] == pytest.approx(sum(seconds.values()) - seconds["video"])


def test_seconds_are_those_of_the_steps_that_are_run():
    with_anchors, alone, coded = Taken(0, 5_000), Taken(0, 1_000), (Taken(0, 30), Taken(0, 70))
    config = replace(config_of(), peak_tflops=1e-9, utilisation=0.5)

    def told(halves=1, **changes):
        asked = replace(config, sampling=replace(config.sampling, **changes))
        calls = (with_anchors, alone)
        return _seconds(asked, Taken(0, 2), {False: coded, True: coded}, 4, calls, halves)

    # 500 operations a second; of ten steps nine lie in the window of 0 to 0.8.
    plain = told()
    expected = {
        "denoising": (9 * 5_000 + 1_000) / 500,
        "encoding anchors": 4 * 30 / 500,
        "decoding": 70 / 500,
        "reading the prompt": 2 * 2 / 500,
    }
    assert {stage: plain[stage] for stage in expected} == pytest.approx(expected)
    assert plain["video"] == pytest.approx(sum(plain.values()) - plain["video"])
    assert told(guidance=1.0)["reading the prompt"] == pytest.approx(2 / 500)
    assert told(halves=2)["denoising"] == pytest.approx(2 * plain["denoising"])
    assert told(control_every=4)["denoising"] == pytest.approx((3 * 5_000 + 7 * 1_000) / 500)
    assert told(start="anchors", start_share=0.5)["denoising"] == pytest.approx(5 * 5_000 / 500)
    assert told(control_weight=0.0, camera_weight=0.0)["denoising"] == pytest.approx(
        10 * 1_000 / 500
    )


def test_the_published_models_are_those_that_are_known():
    """Parameters of T5-XXL's and UMT5-XXL's encoders, of both autoencoders and backbones."""
    for path, millions in {
        "x/CogVideoX-5b-I2V": {"text_encoder": 4762, "vae": 216, "transformer": 5570},
        "x/Wan2.2-TI2V-5B-Diffusers": {"text_encoder": 5681, "vae": 705, "transformer": 5000},
    }.items():
        networks = networks_of(config_of(path, dtype="bfloat16"))
        assert "as published" in networks.source
        for name, count in millions.items():
            met = sum(one.numel() for one in networks.parts[name].parameters()) / 1e6
            assert met == pytest.approx(count, abs=0.6), name
        assert {p.device.type for p in networks.parts["transformer"].parameters()} == {"meta"}


def test_a_share_that_no_controller_reads_is_refused():
    with pytest.raises(ValueError, match="visible=0.45 changes nothing: .* all tokens"):
        main(["model.path=tiny", "model.controller=null", "visible=0.45", *VIDEO])


def test_a_share_beyond_all_is_refused():
    with pytest.raises(ValueError, match="visible"):
        SamplingDryRunConfig(visible=1.5)

"""AnchorWeavePipeline: diffusers' own where nothing is retrieved, woven where something is."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from diffusers import (
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXTransformer3DModel,
)
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image

from anchorweave.anchors import Anchors, References, Retrieved
from anchorweave.geometry.cameras import Cameras
from anchorweave.holes import fill_holes
from anchorweave.models.backbones import codec_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.references.reference_networks import REFERENCE_NETWORKS
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.models.small.tiny import tiny_components
from anchorweave.models.weaving.released_weights import to_released_names
from anchorweave.pipelines import AnchorWeavePipeline
from anchorweave.pipelines.anchored_start import start_video
from inference.runs.generator import place_networks
from tests.alike import alike

T, H, W = 9, 32, 48
PROMPT = "a slow walk through a kitchen"


def make_pipeline(seed=0):
    pipeline = AnchorWeavePipeline(**tiny_components(seed, T, (H, W)))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def teach(controller, seed=0):
    """Random output projections, so that the controller has a say."""
    torch.manual_seed(seed)
    for project in [*controller.control_proj, *controller.camera_encoder.project]:
        torch.nn.init.normal_(project.weight, std=0.05)


@pytest.fixture(scope="module")
def pipeline():
    pipeline = make_pipeline()
    teach(pipeline.controller)
    return pipeline


@pytest.fixture(scope="module")
def parent(pipeline):
    ours = ("controller", "references")
    parts = {name: part for name, part in pipeline.components.items() if name not in ours}
    parent = CogVideoXImageToVideoPipeline(**parts)
    parent.set_progress_bar_config(disable=True)
    return parent


def picture(seed=0):
    return torch.rand(3, H, W, generator=torch.Generator().manual_seed(seed))


def retrieved(slots=2, seed=0, frames=T, size=(H, W)):
    make = torch.Generator().manual_seed(seed)
    poses = torch.eye(4).repeat(slots + 1, frames, 1, 1)
    poses[..., :3, 3] = torch.rand(slots + 1, frames, 3, generator=make)
    return Retrieved(
        Anchors(
            torch.rand(slots, frames, 3, *size, generator=make),
            torch.rand(slots, frames, *size, generator=make) > 0.3,
            poses[1:],
        ),
        References(
            torch.zeros(0, 3, *size),
            Cameras(torch.eye(4)[None][:0], torch.eye(3)[None][:0], size),
            torch.zeros(0, 4, 4),
        ),
        poses[0],
    ).in_unit(1.0)


def run(pipeline, image=None, prompt=PROMPT, seeds=(0,), **arguments):
    """Latents of one short run."""
    makers = [torch.Generator().manual_seed(seed) for seed in seeds]
    defaults = {"num_inference_steps": 2, "num_frames": T, "output_type": "latent"}
    return pipeline(
        picture() if image is None else image,
        prompt,
        generator=makers,
        **(defaults | arguments),
    ).frames


@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_nothing_retrieved_is_diffusers_pipeline(pipeline, parent, guidance):
    theirs = run(parent, picture()[None], guidance_scale=guidance, max_sequence_length=32)
    assert alike(run(pipeline, guidance_scale=guidance), theirs)


def test_a_zero_controller_changes_nothing_and_another_does(pipeline, parent):
    zero = make_pipeline()
    theirs = run(parent, picture()[None], max_sequence_length=32, output_type="pt")
    assert alike(run(zero, retrieved=retrieved(), output_type="pt"), theirs)
    woven = run(pipeline, retrieved=retrieved(), output_type="pt")
    assert woven.shape == (1, T, 3, H, W)
    assert not torch.allclose(woven, theirs, atol=1e-3)


def test_each_weight_switches_its_own_half_off(pipeline):
    plain, both, control, camera, none = (
        run(pipeline, retrieved=what, control_weight=a, camera_weight=b)
        for what, a, b in (
            (None, 1.0, 1.0),
            (retrieved(), 1.0, 1.0),
            (retrieved(), 1.0, 0.0),
            (retrieved(), 0.0, 1.0),
            (retrieved(), 0.0, 0.0),
        )
    )
    assert alike(none, plain)
    different = [plain, both, control, camera]
    for i, a in enumerate(different):
        assert not any(torch.allclose(a, b, atol=1e-3) for b in different[:i])


def test_an_empty_memory_still_follows_the_cameras(pipeline):
    empty = run(pipeline, retrieved=retrieved(slots=0))
    assert torch.isfinite(empty).all()
    assert not torch.allclose(empty, run(pipeline), atol=1e-3)


@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_rows_of_a_batch_are_those_of_each_alone(pipeline, guidance):
    prompts = [PROMPT, "a chair"]
    images = torch.stack([picture(1), picture(2)])
    memories = [retrieved(seed=1), retrieved(seed=2)]
    together = run(pipeline, images, prompts, (3, 4), retrieved=memories, guidance_scale=guidance)
    for i in range(2):
        alone = run(
            pipeline,
            images[i],
            prompts[i],
            (3 + i,),
            retrieved=memories[i],
            guidance_scale=guidance,
        )
        torch.testing.assert_close(together[i], alone[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-1)


@pytest.mark.parametrize(
    ("window", "steps", "active"),
    [
        ((0.0, 0.8), 5, [0, 1, 2, 3, 4]),
        ((0.0, 0.8), 10, list(range(9))),
        ((0.0, 0.0), 4, [0]),
        ((0.5, 0.75), 4, [2, 3]),
        ((0.9, 1.0), 4, []),
    ],
)
@pytest.mark.parametrize("scheduler", [None, CogVideoXDDIMScheduler])
def test_the_controller_runs_in_its_window_and_the_cameras_once(
    pipeline, monkeypatch, window, steps, active, scheduler
):
    step, controlled, cameras = [0], [], []
    features = pipeline.controller.camera_features

    def counted(target2first):
        cameras.append(len(target2first))
        return features(target2first)

    def next_step(pipeline, i, timestep, given):
        step[0] = i + 1
        return given

    monkeypatch.setattr(pipeline.controller, "camera_features", counted)
    if scheduler:
        other = scheduler.from_config(pipeline.scheduler.config)
        monkeypatch.setattr(pipeline, "scheduler", other)
    hook = pipeline.controller.register_forward_hook(lambda *_: controlled.append(step[0]))
    try:
        run(
            pipeline,
            retrieved=retrieved(slots=1),
            num_inference_steps=steps,
            control_window=window,
            callback_on_step_end=next_step,
        )
    finally:
        hook.remove()
    assert controlled == active
    assert cameras == [1]


def test_the_released_window_covers_41_of_50_steps(pipeline):
    pipeline.scheduler.set_timesteps(50)
    shares = []
    for timestep in pipeline.scheduler.timesteps:
        pipeline._current_timestep = timestep
        shares.append(pipeline._completed())
    assert sum(share <= 0.8 for share in shares) == 41


def test_dynamic_guidance_rises_along_the_cosine(pipeline):
    met = []

    def note(pipeline, i, timestep, given):
        met.append(pipeline.guidance_scale)
        return given

    run(
        pipeline,
        num_inference_steps=4,
        guidance_scale=6.0,
        use_dynamic_cfg=True,
        callback_on_step_end=note,
    )
    closed_form = [1 + 3 * (1 - math.cos(math.pi * (i / 4) ** 5)) for i in range(4)]
    assert met == pytest.approx(closed_form)
    assert met[0] == 1 and met == sorted(met)
    assert pipeline.guidance_scale == 6.0


def test_dynamic_guidance_is_what_the_loop_uses(pipeline, parent):
    # The only step of one has nothing behind it: guidance 1, the prompt's own prediction.
    once = run(pipeline, num_inference_steps=1, guidance_scale=6.0, use_dynamic_cfg=True)
    unguided = run(pipeline, num_inference_steps=1, guidance_scale=1.0)
    torch.testing.assert_close(once, unguided, atol=1e-4, rtol=1e-4)
    guided = run(pipeline, num_inference_steps=1, guidance_scale=6.0)
    assert not torch.allclose(once, guided, atol=1e-2)


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_bright_and_dark_images_come_out_alike_in_every_form(pipeline, grey):
    pil = Image.new("RGB", (W, H), (grey, grey, grey))
    array = np.full((H, W, 3), grey, dtype=np.uint8)
    tensor = torch.full((3, H, W), grey / 255)
    expected = run(pipeline, pil)
    for same in (array, array / 255.0, tensor, tensor[None], [tensor], pil.convert("L"), [pil]):
        torch.testing.assert_close(run(pipeline, same), expected, atol=1e-4, rtol=1e-4)


def test_bright_is_not_dark(pipeline):
    bright, dark = (run(pipeline, torch.full((3, H, W), value)) for value in (0.9, 0.1))
    assert not torch.allclose(bright, dark, atol=1e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": torch.rand(2, 3, H, W)}, r"2 image\(s\) for 1 prompt"),
        ({"image": []}, r"0 image\(s\) for 1 prompt"),
        ({"image": 2 * picture() - 1}, r"\[0, 1\]"),
        ({"prompt": None}, "give a prompt"),
        ({"num_frames": 0}, "the nearest lengths are 1 and 5"),
        ({"height": 0}, "divisible by 16"),
        ({"num_frames": 8}, "the nearest lengths are 5 and 9"),
        ({"height": 40}, "divisible by 16"),
        ({"height": 64}, "learned its positions at 32x48"),
        ({"retrieved": retrieved(frames=5)}, r"retrieved\[0\] shows 5 frames"),
        ({"retrieved": retrieved(size=(48, 48))}, r"retrieved\[0\] shows 9 frames of 48x48"),
        ({"retrieved": [retrieved(), retrieved()]}, "2 retrieved for 1 prompt"),
        ({"retrieved": []}, "0 retrieved for 1 prompt"),
        ({"control_window": (0.8, 0.2)}, "control_window"),
        ({"control_window": (0.0, 1.5)}, "control_window"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(pipeline, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(pipeline, **({"height": H, "width": W} | arguments))


def test_the_released_rule_for_visible_first_frames_reaches_the_controller(pipeline):
    hidden = retrieved()
    hidden.anchors.visible[:, 0] = False
    hidden.anchors.visible[1, 1:] = True
    seen, always = (
        run(pipeline, retrieved=hidden, visible_first_frame=rule) for rule in ("seen", "always")
    )
    assert not torch.allclose(seen, always, atol=1e-3)


def test_holes_are_filled_as_the_controllers_config_says(pipeline):
    cracked = retrieved()
    cracked.anchors.visible[:, :, ::4] = False
    cracked.anchors.video[:] *= cracked.anchors.visible[:, :, None]
    anchors = cracked.anchors
    filled = fill_holes(anchors.video, anchors.visible, "filled")
    by_hand = replace(cracked, anchors=replace(anchors, video=filled))
    black, expected = (run(pipeline, retrieved=one) for one in (cracked, by_hand))
    pipeline.controller.register_to_config(holes="filled")
    try:
        ours = run(pipeline, retrieved=cracked)
    finally:
        pipeline.controller.register_to_config(holes="black")
    assert alike(ours, expected) and not torch.allclose(black, expected, atol=1e-3)


def started(pipeline, share, steps=10, **arguments):
    """A run from the anchors, and what its loop began with: latents, and the timesteps run."""
    met, prepare = [], pipeline.prepare_latents

    def kept(*given, **named):
        latents, image = prepare(*given, **named)
        met.append((latents, pipeline.scheduler.timesteps))
        return latents, image

    pipeline.prepare_latents = kept
    try:
        given = {"retrieved": retrieved(), "start": "anchors", "start_share": share} | arguments
        video = run(pipeline, num_inference_steps=steps, **given)
    finally:
        del pipeline.prepare_latents
    return video, *met[0]


@torch.no_grad()
@pytest.mark.parametrize("scheduler", [None, CogVideoXDDIMScheduler])
def test_it_starts_from_the_anchors_at_the_noise_of_the_first_step(
    pipeline, monkeypatch, scheduler
):
    if scheduler:
        other = scheduler.from_config(pipeline.scheduler.config)
        monkeypatch.setattr(pipeline, "scheduler", other)
    video, latents, timesteps = started(pipeline, 0.3)
    assert timesteps.tolist() == [299, 199, 99] and torch.isfinite(video).all()
    # Of ten steps, each a hundred wide, until no noise is left.
    assert pipeline.scheduler.num_inference_steps == 10
    clean = codec_of(pipeline.vae).encode(start_video(retrieved().anchors, picture())[None])
    pure = started(pipeline, 1.0)[1]
    kept = pipeline.scheduler.alphas_cumprod[299]
    torch.testing.assert_close(latents, kept.sqrt() * clean + (1 - kept).sqrt() * pure)


def test_all_steps_start_from_noise_alone(pipeline):
    """Where the schedule ends in noise alone."""
    assert pipeline.scheduler.alphas_cumprod[-1] == 0
    whole = run(pipeline, retrieved=retrieved(), num_inference_steps=4)
    assert alike(started(pipeline, 1.0, steps=4)[0], whole)
    # And afterwards the pipeline is as it was.
    started(pipeline, 0.5, steps=4)
    assert alike(run(pipeline, retrieved=retrieved(), num_inference_steps=4), whole)


def test_rows_that_start_from_anchors_are_those_of_each_alone(pipeline):
    """Also beside one whose memory shows nothing."""
    images = torch.stack([picture(1), picture(2)])
    memories = [retrieved(seed=1), retrieved(slots=0)]
    rows = {"start": "anchors", "start_share": 0.5, "num_inference_steps": 4}
    together = run(pipeline, images, ["a", "b"], (3, 4), retrieved=memories, **rows)
    for i, prompt in enumerate("ab"):
        alone = run(pipeline, images[i], prompt, (3 + i,), retrieved=memories[i], **rows)
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-4, rtol=1e-4)


def test_pictures_and_tensors_start_alike(pipeline):
    levels = (picture() * 255).round()
    image = Image.fromarray(levels.byte().permute(1, 2, 0).numpy())
    latents = started(pipeline, 0.3, image=image)[1]
    torch.testing.assert_close(latents, started(pipeline, 0.3, image=levels / 255)[1])


def test_the_window_counts_the_steps_that_are_run_and_guidance_all(pipeline):
    step, controlled, guidance = [0], [], []

    def next_step(pipeline, i, timestep, given):
        step[0] = i + 1
        guidance.append(pipeline.guidance_scale)
        return given

    hook = pipeline.controller.register_forward_hook(lambda *_: controlled.append(step[0]))
    try:
        started(
            pipeline,
            0.4,
            control_window=(0.0, 0.5),
            use_dynamic_cfg=True,
            guidance_scale=6.0,
            callback_on_step_end=next_step,
        )
    finally:
        hook.remove()
    assert controlled == [0, 1, 2]
    rise = [(1 - math.cos(math.pi * (i / 10) ** 5)) / 2 for i in (6, 7, 8, 9)]
    np.testing.assert_allclose(guidance, [1 + 6 * r for r in rise])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"start": "image"}, "start='image' with anchors retrieved"),
        ({"start": "anchors", "retrieved": None}, "start='anchors' with nothing retrieved"),
        ({"start": "anchors", "start_share": 0.0}, "start_share=0.0 is no share"),
    ],
)
def test_a_start_that_cannot_be_is_refused(pipeline, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(pipeline, **({"retrieved": retrieved()} | arguments))


def test_size_and_length_come_from_what_was_retrieved(pipeline):
    short = pipeline(
        picture(), PROMPT, retrieved=retrieved(frames=5), num_inference_steps=1, output_type="np"
    )
    assert short.frames.shape == (1, 5, H, W, 3)
    images = pipeline(picture(), PROMPT, retrieved=retrieved(), num_inference_steps=1).frames
    assert len(images[0]) == T and images[0][0].size == (W, H)


def test_an_even_number_of_latent_frames_gives_its_own_length(pipeline):
    video = run(pipeline, num_frames=5, output_type="pt")
    assert video.shape == (1, 5, 3, H, W)
    with torch.no_grad():
        expected = codec_of(pipeline.vae).decode(run(pipeline, num_frames=5))
    torch.testing.assert_close(video, expected)


def test_a_long_prompt_warns_with_what_was_cut(pipeline):
    with pytest.warns(UserWarning, match="cut: 'chair'"):
        run(pipeline, prompt="table " * 31 + "chair")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(pipeline, prompt="table " * 31)


def test_prompt_features_can_be_given(pipeline):
    prompt, negative = pipeline.encode_prompt(PROMPT, max_sequence_length=32)
    given = run(pipeline, prompt=None, prompt_embeds=prompt, negative_prompt_embeds=negative)
    torch.testing.assert_close(given, run(pipeline), atol=1e-5, rtol=1e-5)


def test_a_saved_pipeline_comes_back(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    assert (tmp_path / "controller" / "config.json").is_file()
    again = AnchorWeavePipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert alike(run(again, retrieved=retrieved()), run(pipeline, retrieved=retrieved()))


@pytest.fixture
def small_new_controllers(monkeypatch):
    """New controllers of the tiny model's size: those of the released one fill a gigabyte."""
    new = WeavingController.from_backbone

    def small(backbone, num_layers=None, num_heads=None, **options):
        return new(backbone, num_layers or 3, num_heads or 2, **options)

    monkeypatch.setattr(WeavingController, "from_backbone", staticmethod(small))


@pytest.mark.parametrize("form", ["object", "folder", "released"])
def test_a_controller_is_put_beside_an_official_folder(
    pipeline, parent, tmp_path, small_new_controllers, form
):
    parent.save_pretrained(tmp_path / "backbone")
    controller = pipeline.controller
    if form == "folder":
        controller = str(tmp_path / "controller")
        pipeline.controller.save_pretrained(controller)
    if form == "released":
        controller = tmp_path / "checkpoint.pt"
        state = to_released_names(pipeline.controller.state_dict())
        torch.save({"ema_state_dict": state}, controller)
    joined = AnchorWeavePipeline.from_backbone(tmp_path / "backbone", controller)
    joined.set_progress_bar_config(disable=True)
    assert alike(run(joined, retrieved=retrieved()), run(pipeline, retrieved=retrieved()))


def test_a_new_controller_changes_nothing_and_takes_the_backbones_dtype(small_new_controllers):
    parts = tiny_components(0, T, (H, W))
    del parts["controller"]
    parts["transformer"].to(torch.bfloat16)
    joined = AnchorWeavePipeline.from_backbone(CogVideoXImageToVideoPipeline(**parts))
    assert joined.controller.dtype == torch.bfloat16
    assert not any(project.weight.any() for project in joined.controller.control_proj)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size_t": 2, "use_learned_positional_embeddings": False}, "CogVideoX 1.5"),
        ({"in_channels": 16}, "image-to-video backbone"),
    ],
)
def test_backbones_of_another_kind_are_refused(pipeline, changes, message):
    parts = dict(pipeline.components)
    parts["transformer"] = CogVideoXTransformer3DModel.from_config(
        parts["transformer"].config, **changes
    )
    with pytest.raises(ValueError, match=message):
        AnchorWeavePipeline(**parts)
    del parts["controller"], parts["references"]
    with pytest.raises(ValueError, match=message):
        AnchorWeavePipeline.from_backbone(CogVideoXImageToVideoPipeline(**parts))


def test_lora_of_the_backbone_loads_as_in_diffusers(pipeline, tmp_path):
    tuned, fresh = make_pipeline(), make_pipeline()
    for one in (tuned, fresh):
        teach(one.controller)
    tuned.transformer.add_adapter(
        LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_v"])
    )
    layers = get_peft_model_state_dict(tuned.transformer)
    AnchorWeavePipeline.save_lora_weights(tmp_path, transformer_lora_layers=layers)
    fresh.load_lora_weights(tmp_path)
    ours = run(fresh, retrieved=retrieved())
    torch.testing.assert_close(ours, run(tuned, retrieved=retrieved()))
    without = run(pipeline, retrieved=retrieved())
    assert not torch.allclose(ours, without, atol=1e-3)
    fresh.unload_lora_weights()
    torch.testing.assert_close(run(fresh, retrieved=retrieved()), without)


@pytest.mark.parametrize("how", ["model", "sequential", "group"])
def test_offloading_changes_nothing_of_what_comes_out(how):
    offloaded = make_pipeline()
    teach(offloaded.controller)
    expected = run(offloaded, retrieved=retrieved())
    # On a CPU the moves go nowhere, but every hook that makes them runs.
    if how == "model":
        offloaded.enable_model_cpu_offload(device="cpu")
        assert hasattr(offloaded.transformer, "_hf_hook")
        # Asked for its cameras without a call, it would be found where it was left: not moved.
        assert not hasattr(offloaded.controller, "_hf_hook")
    elif how == "group":
        place_networks(offloaded, "group", "cpu")
        assert hasattr(offloaded.transformer.transformer_blocks[0], "_diffusers_hook")
        assert not hasattr(offloaded.controller, "_diffusers_hook")
    else:
        for name in ("text_encoder", "vae", "transformer", "controller"):
            part = getattr(offloaded, name)
            cpu_offload(part, torch.device("cpu"), offload_buffers=len(part._parameters) > 0)
        assert offloaded.controller.device.type == offloaded.vae.device.type == "meta"
    for _ in range(2):
        assert alike(run(offloaded, retrieved=retrieved()), expected)


def test_half_precision_runs_through():
    half = make_pipeline().to(torch.bfloat16)
    teach(half.controller)
    woven = run(half, retrieved=retrieved())
    assert woven.dtype == torch.bfloat16 and torch.isfinite(woven).all()
    assert not alike(woven, run(half))


def test_an_interrupted_call_stops_weaving(pipeline):
    calls = []

    def stop(pipeline, i, timestep, given):
        pipeline._interrupt = True
        return given

    hook = pipeline.controller.register_forward_hook(lambda *_: calls.append(1))
    try:
        run(pipeline, retrieved=retrieved(), num_inference_steps=4, callback_on_step_end=stop)
    finally:
        hook.remove()
    assert len(calls) == 1


def test_the_pipeline_is_left_as_it_was_when_a_call_fails(pipeline):
    before = run(pipeline)

    def fail(*_):
        raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        run(pipeline, retrieved=retrieved(), use_dynamic_cfg=True, callback_on_step_end=fail)
    assert not pipeline.transformer._forward_pre_hooks
    assert alike(run(pipeline), before)


def with_references(retrieved_, count=2, seed=3):
    """The same, with frames that were seen."""
    make = torch.Generator().manual_seed(seed)
    c2w = torch.eye(4).repeat(count, 1, 1)
    c2w[:, :3, 3] = torch.rand(count, 3, generator=make)
    seen_by = Cameras(c2w, torch.eye(3).repeat(count, 1, 1), (H, W))
    frames = torch.rand(count, 3, H, W, generator=make)
    return replace(retrieved_, references=References(frames, seen_by, c2w))


@pytest.mark.parametrize("kind", REFERENCE_NETWORKS)
def test_references_are_read_by_who_can_and_saved_with_the_model(kind, tmp_path):
    plain = make_pipeline()
    options = {"attention": {"interval": 1, "heads": 2, "head_dim": 8}}.get(kind, {})
    network = REFERENCE_NETWORKS[kind].from_backbone(plain.transformer, **options)
    for name, parameter in network.named_parameters():
        if "to_out" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    reading = AnchorWeavePipeline.from_backbone(plain, plain.controller, references=network)
    reading.set_progress_bar_config(disable=True)
    known = with_references(retrieved(slots=0))
    # Guidance doubles the batch that references have to follow.
    alone, read = (run(p, retrieved=known, guidance_scale=6.0) for p in (plain, reading))
    assert (read - alone).abs().max() > 1e-3
    other = run(reading, retrieved=with_references(retrieved(slots=0), seed=4), guidance_scale=6.0)
    assert (read - other).abs().max() > 1e-3
    without = run(reading, retrieved=retrieved(slots=0), guidance_scale=6.0)
    torch.testing.assert_close(without, alone)
    reading.save_pretrained(tmp_path / "model")
    again = AnchorWeavePipeline.from_pretrained(tmp_path / "model")
    again.set_progress_bar_config(disable=True)
    assert alike(run(again, retrieved=known, guidance_scale=6.0), read)


def test_samples_of_a_batch_may_have_more_and_fewer_references():
    plain = make_pipeline()
    network = ReferenceTokens.from_backbone(plain.transformer)
    for layer in network.pose:
        torch.nn.init.normal_(layer.weight, std=0.1)
    reading = AnchorWeavePipeline.from_backbone(plain, plain.controller, references=network)
    reading.set_progress_bar_config(disable=True)
    known = [with_references(retrieved(), 2), retrieved(seed=1)]
    images, prompts = [picture(0), picture(1)], [PROMPT, "a garden"]
    together = run(reading, images, prompts, seeds=(0, 1), retrieved=known, guidance_scale=1.0)
    for b in range(2):
        single = run(reading, images[b], prompts[b], (b,), retrieved=known[b], guidance_scale=1.0)
        torch.testing.assert_close(together[b : b + 1], single, atol=1e-4, rtol=1e-3)


def test_lengths_in_the_recordings_unit_are_refused(pipeline):
    raw = replace(retrieved(), unit=None)
    with pytest.raises(
        ValueError, match=r"retrieved\[0\] has the recording's own lengths.*in_unit"
    ):
        run(pipeline, retrieved=raw)


def test_tiles_switched_on_by_hand_work_or_are_refused():
    pipeline = make_pipeline()
    pipeline.vae.enable_tiling()
    pipeline.check_shape(T, H, W)
    pipeline.vae.enable_tiling(20, 20, 0.3, 0.3)
    with pytest.raises(ValueError, match="tiles of 20x20 .* do not divide"):
        run(pipeline, retrieved=retrieved())


def test_weights_used_at_another_size_warn_once():
    parts = tiny_components(0, T, (H, W))
    config = {**parts["transformer"].config, "use_learned_positional_embeddings": False}
    parts["transformer"] = CogVideoXTransformer3DModel.from_config(config)
    pipeline = AnchorWeavePipeline(**parts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline.check_shape(T, H, W)
    said = f"made for {H}x{W} .* used at {2 * H}x{W}"
    with pytest.warns(UserWarning, match=said):
        pipeline.check_shape(T, 2 * H, W)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline.check_shape(T, 2 * H, W)


@torch.no_grad()
def test_weights_that_lie_in_float8_are_near_and_half_as_large():
    pipe = make_pipeline()
    teach(pipe.controller)
    expected = run(pipe, retrieved=retrieved())
    pipe.transformer.enable_layerwise_casting(torch.float8_e4m3fn, compute_dtype=torch.float32)
    linear = pipe.transformer.transformer_blocks[0].attn1.to_q.weight
    assert linear.dtype == torch.float8_e4m3fn
    found = run(pipe, retrieved=retrieved())
    # float8 has 3 bits behind its first one; frames are in [0, 1].
    assert found.isfinite().all() and 0 < (found - expected).abs().mean() < 0.1


@pytest.mark.parametrize("every", [1, 2])
def test_the_controller_may_run_in_every_second_step(pipeline, every):
    calls = []
    hook = pipeline.controller.register_forward_hook(lambda *_: calls.append(1))
    try:
        found = run(pipeline, retrieved=retrieved(), control_every=every, num_inference_steps=4)
    finally:
        hook.remove()
    # 4 steps, all of which lie in the window of 0.8 (i / 4 <= 0.75).
    assert len(calls) == 4 // every and found.isfinite().all()

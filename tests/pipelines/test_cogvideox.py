"""AnchorWeavePipeline: what CogVideoX alone has, and what one family is enough to show."""

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

from anchorweave.holes import fill_holes
from anchorweave.models.backbones import codec_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.small.tiny import tiny_components
from anchorweave.models.weaving.released_weights import to_released_names
from anchorweave.pipelines import AnchorWeavePipeline
from anchorweave.pipelines.anchored_start import start_video
from inference.runs.generator import place_networks
from tests.alike import alike
from tests.pipelines.small import (
    MEMBERS,
    PROMPT,
    T,
    make_pipeline,
    parent_of,
    picture,
    retrieved,
    run,
    teach,
)

H, W = MEMBERS["cogvideox"].size


@pytest.fixture(scope="module")
def pipeline():
    pipeline = make_pipeline()
    teach(pipeline.controller)
    return pipeline


@pytest.fixture(scope="module")
def parent(pipeline):
    return parent_of(pipeline)


def test_prompts_are_read_as_diffusers_reads_them(pipeline, parent):
    assert alike(run(pipeline), run(parent, max_sequence_length=32))


@pytest.mark.parametrize(
    ("size", "message"),
    [({"height": 64}, "learned its positions at 32x48"), ({"width": 40}, "divisible by 16")],
)
def test_other_sizes_are_refused(pipeline, size, message):
    with pytest.raises(ValueError, match=message):
        run(pipeline, **size)


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
    once = {"num_inference_steps": 1}
    expected = run(pipeline, pil, **once)
    for same in (array, array / 255.0, tensor, tensor[None], [tensor], pil.convert("L"), [pil]):
        torch.testing.assert_close(run(pipeline, same, **once), expected, atol=1e-4, rtol=1e-4)


def test_bright_is_not_dark(pipeline):
    bright, dark = (run(pipeline, torch.full((3, H, W), value)) for value in (0.9, 0.1))
    assert not torch.allclose(bright, dark, atol=1e-2)


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


def test_an_even_number_of_latent_frames_gives_its_own_length(pipeline):
    video = run(pipeline, num_frames=5, output_type="pt")
    assert video.shape == (1, 5, 3, H, W)
    with torch.no_grad():
        expected = codec_of(pipeline.vae).decode(run(pipeline, num_frames=5))
    torch.testing.assert_close(video, expected)


def test_a_long_prompt_warns_with_what_was_cut(pipeline):
    with pytest.warns(UserWarning, match="truncated by: 'chair'"):
        run(pipeline, prompt="table " * 31 + "chair")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(pipeline, prompt="table " * 31)


def test_prompt_features_can_be_given(pipeline):
    prompt, negative = pipeline.encode_prompt(PROMPT, max_sequence_length=32)
    given = run(pipeline, prompt=None, prompt_embeds=prompt, negative_prompt_embeds=negative)
    torch.testing.assert_close(given, run(pipeline), atol=1e-5, rtol=1e-5)


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
    assert alike(
        run(joined, retrieved=retrieved(), num_inference_steps=1),
        run(pipeline, retrieved=retrieved(), num_inference_steps=1),
    )


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
    ours = run(fresh, retrieved=retrieved(), num_inference_steps=1)
    torch.testing.assert_close(ours, run(tuned, retrieved=retrieved(), num_inference_steps=1))
    without = run(pipeline, retrieved=retrieved(), num_inference_steps=1)
    assert not torch.allclose(ours, without, atol=1e-3)
    fresh.unload_lora_weights()
    torch.testing.assert_close(run(fresh, retrieved=retrieved(), num_inference_steps=1), without)


@pytest.mark.parametrize("how", ["model", "sequential", "group"])
def test_offloading_changes_nothing_of_what_comes_out(how):
    offloaded = make_pipeline()
    teach(offloaded.controller)
    expected = run(offloaded, retrieved=retrieved(), num_inference_steps=1)
    # On a CPU the moves go nowhere, but every hook that makes them runs.
    if how == "model":
        offloaded.enable_model_cpu_offload(device="cpu")
        assert hasattr(offloaded.transformer, "_hf_hook")
        # Asked for its cameras without a call, it would be found where it was left: not moved.
        assert not hasattr(offloaded.controller, "_hf_hook")
    elif how == "group":
        place_networks(offloaded, "group", "cpu")
        assert hasattr(offloaded.transformer.transformer_blocks[0], "_diffusers_hook")
        # Never called as a whole, which is what brings weights back.
        for part in (offloaded.controller, offloaded.vae):
            assert not any(hasattr(module, "_diffusers_hook") for module in part.modules())
    else:
        for name in ("text_encoder", "vae", "transformer", "controller"):
            part = getattr(offloaded, name)
            cpu_offload(part, torch.device("cpu"), offload_buffers=len(part._parameters) > 0)
        assert offloaded.controller.device.type == offloaded.vae.device.type == "meta"
    for _ in range(2):
        assert alike(run(offloaded, retrieved=retrieved(), num_inference_steps=1), expected)


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

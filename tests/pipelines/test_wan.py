"""AnchorWeaveWanPipeline: diffusers' own where nothing is retrieved, woven where something is."""

import json
import sys

import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)

from anchorweave.anchors import Anchors
from anchorweave.models.backbones import codec_of
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.models.small.tiny import tiny_components
from anchorweave.models.small.tiny_wan import tiny_wan_components
from anchorweave.models.weaving.make_controller import make_controller
from anchorweave.pipelines import AnchorWeavePipeline, AnchorWeaveWanPipeline, pipeline_class
from anchorweave.pipelines.wan import _SeveralImages
from tests.alike import alike
from tests.pipelines.test_cogvideox import PROMPT, retrieved, teach

T, H, W = 9, 32, 64
OURS = ("controller", "references")


def make_pipeline(seed=0, **changes):
    pipeline = AnchorWeaveWanPipeline(**(tiny_wan_components(seed, T, (H, W)) | changes))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def pipeline():
    pipeline = make_pipeline()
    teach(pipeline.controller)
    return pipeline


@pytest.fixture(scope="module")
def parent(pipeline):
    parts = {name: part for name, part in pipeline.components.items() if name not in OURS}
    parent = WanImageToVideoPipeline(**parts, expand_timesteps=True)
    parent.set_progress_bar_config(disable=True)
    return parent


@pytest.fixture(scope="module")
def embedded(pipeline):
    """Features of the prompt and of the empty one: diffusers' own path needs ftfy."""
    return {
        "prompt_embeds": pipeline.encode_prompt(PROMPT, max_sequence_length=32)[0],
        "negative_prompt_embeds": pipeline.encode_prompt("", max_sequence_length=32)[0],
    }


def picture(seed=0):
    return torch.rand(3, H, W, generator=torch.Generator().manual_seed(seed))


def known(slots=2, seed=0):
    return retrieved(slots, seed, T, (H, W))


def run(pipeline, image=None, prompt=PROMPT, seeds=(0,), **arguments):
    """Latents [B, C, t, h, w] of one short run."""
    makers = [torch.Generator().manual_seed(seed) for seed in seeds]
    defaults = {"num_inference_steps": 3, "num_frames": T, "output_type": "latent"}
    if isinstance(pipeline, AnchorWeaveWanPipeline):
        defaults["prompt"] = None if "prompt_embeds" in arguments else prompt
    defaults |= {"height": H, "width": W}
    images = picture()[None] if image is None else image
    return pipeline(images, generator=makers, **(defaults | arguments)).frames


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_nothing_retrieved_is_diffusers_pipeline(pipeline, parent, embedded, guidance):
    theirs = run(parent, guidance_scale=guidance, **embedded)
    assert alike(run(pipeline, guidance_scale=guidance), theirs)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_a_zero_controller_changes_nothing_and_another_does(pipeline, parent, embedded, guidance):
    """Nothing is added but zeros."""
    theirs = run(parent, guidance_scale=guidance, output_type="pt", **embedded)
    zero = make_pipeline()
    same = run(zero, retrieved=known(), guidance_scale=guidance, output_type="pt")
    assert alike(same, theirs)
    woven = run(pipeline, retrieved=known(), guidance_scale=guidance, output_type="pt")
    assert woven.shape == (1, T, 3, H, W)
    assert not torch.allclose(woven, theirs, atol=1e-4)


def test_several_images_are_each_diffusers_own(parent, embedded):
    """Diffusers' own pipeline fails for several; each alone is what it makes of one."""
    zero = make_pipeline()
    images, prompts = torch.stack([picture(0), picture(1)]), [PROMPT, "a sunny street"]
    both = run(zero, images, prompts, (0, 7), retrieved=[known(), known(1)])
    theirs = run(parent, images[:1], seeds=(0,), **embedded)
    assert alike(both[:1], theirs)
    features = zero.encode_prompt(prompts[1], max_sequence_length=32)[0]
    other = embedded | {"prompt_embeds": features}
    assert alike(both[1:], run(parent, images[1:], seeds=(7,), **other))


def test_row_i_of_a_batch_is_the_sample_alone(pipeline):
    images, prompts = [picture(0), picture(1)], [PROMPT, "a sunny street"]
    what = [known(2, 0), known(1, 1)]
    both = run(pipeline, images, prompts, (0, 7), retrieved=what)
    for i in (0, 1):
        alone = run(pipeline, [images[i]], [prompts[i]], [(0, 7)[i]], retrieved=[what[i]])
        # A padded slot takes part in attention, unless the controller leaves it out.
        if i == 0:
            assert alike(both[i : i + 1], alone)
    pipeline.controller.register_to_config(tokens="visible")
    try:
        both = run(pipeline, images, prompts, (0, 7), retrieved=what)
        alone = run(pipeline, [images[1]], [prompts[1]], [7], retrieved=[what[1]])
        assert alike(both[1:], alone)
    finally:
        pipeline.controller.register_to_config(tokens="all")


def test_the_order_of_anchors_means_nothing(pipeline):
    what = known(3)
    turned = type(what)(
        Anchors(
            *(
                x[[2, 0, 1]]
                for x in (what.anchors.video, what.anchors.visible, what.anchors.target2source)
            )
        ),
        what.references,
        what.target2first,
        unit=what.unit,
    )
    assert alike(run(pipeline, retrieved=what), run(pipeline, retrieved=turned))


def test_the_first_frame_is_clean_in_every_step(pipeline):
    met = []
    hook = pipeline.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: met.append((kwargs["hidden_states"], kwargs["timestep"])),
        with_kwargs=True,
    )
    latents = run(pipeline, retrieved=known())
    hook.remove()
    codec = codec_of(pipeline.vae)
    first = codec.encode(picture()[None, None])[:, 0]
    # Three steps, each with and without the prompt.
    assert len(met) == 6
    for shown, timestep in met:
        assert alike(shown[:, :, 0], first)
        assert not timestep[:, : 1 * 2].any() and timestep[:, 2:].all()
    assert alike(latents[:, :, 0], first)


def test_each_weight_switches_its_own_half_off(pipeline):
    plain, both, control, camera, none = (
        run(pipeline, retrieved=what, control_weight=a, camera_weight=b)
        for what, a, b in (
            (None, 1.0, 1.0),
            (known(), 1.0, 1.0),
            (known(), 1.0, 0.0),
            (known(), 0.0, 1.0),
            (known(), 0.0, 0.0),
        )
    )
    assert alike(plain, none)
    kinds = [plain, both, control, camera]
    assert all(not alike(a, b) for i, a in enumerate(kinds) for b in kinds[i + 1 :])


def test_outside_its_window_nothing_is_woven(pipeline):
    window = {"retrieved": known(), "control_window": (0.0, 0.0)}
    seen = []
    plain = pipeline.controller.forward
    pipeline.controller.forward = lambda *a, **k: seen.append(a) or plain(*a, **k)
    try:
        run(pipeline, **window)
    finally:
        pipeline.controller.forward = plain
    assert len(seen) == 2


@pytest.mark.parametrize("scheduler", ["unipc", "euler"])
def test_sampling_may_start_from_the_anchors(scheduler):
    """At a share of 1 the start is noise and anchors as the scheduler mixes them, step for step."""
    made = {"scheduler": FlowMatchEulerDiscreteScheduler(shift=5.0)} if scheduler == "euler" else {}
    pipe = make_pipeline(**made)
    met = []
    hook = pipe.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: met.append((kwargs["hidden_states"], kwargs["timestep"])),
        with_kwargs=True,
    )
    start = {"retrieved": known(), "start": "anchors", "start_share": 0.5, "guidance_scale": 1.0}
    latents = run(pipe, num_inference_steps=6, **start)
    hook.remove()
    assert len(met) == 3 and latents.isfinite().all()
    whole = type(pipe.scheduler).from_config(pipe.scheduler.config)
    whole.set_timesteps(6)
    assert torch.equal(torch.stack([t[0, -1] for _, t in met]), whole.timesteps[-3:].float())
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    # What the first call shows is noise and the start's latents at the level of its own step.
    level = whole.sigmas[3]
    begun = (met[0][0] - level * noise) / (1 - level)
    shown = codec_of(pipe.vae).decode(begun.transpose(1, 2))
    assert shown.isfinite().all() and begun.abs().max() < 20


def test_references_reach_it(pipeline):
    network = ReferenceTokens.from_backbone(pipeline.transformer, cameras=False)
    told = AnchorWeaveWanPipeline.from_backbone(pipeline, pipeline.controller, references=network)
    told.set_progress_bar_config(disable=True)
    what = known()
    frames = type(what.references)(
        torch.rand(2, 3, H, W, generator=torch.Generator().manual_seed(3)),
        type(what.references.cameras)(
            torch.eye(4).repeat(2, 1, 1), torch.eye(3).repeat(2, 1, 1), (H, W)
        ),
        torch.eye(4).repeat(2, 1, 1),
    )
    with_frames = type(what)(what.anchors, frames, what.target2first, unit=what.unit)
    assert not alike(run(told, retrieved=with_frames), run(told, retrieved=what))
    # In a batch beside one that has none.
    images = [picture(0), picture(0)]
    both = run(told, images, [PROMPT] * 2, (0, 0), retrieved=[what, with_frames])
    assert alike(both[:1], run(told, retrieved=what))
    assert alike(both[1:], run(told, retrieved=with_frames))


def test_saved_it_opens_again(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    kind, whole = pipeline_class(tmp_path)
    again = kind.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert kind is AnchorWeaveWanPipeline and whole
    assert alike(run(again, retrieved=known()), run(pipeline, retrieved=known()))


@pytest.fixture(scope="module")
def official(parent, tmp_path_factory):
    """A folder laid out as Wan-AI/Wan2.2-TI2V-5B-Diffusers, of tiny sizes."""
    folder = tmp_path_factory.mktemp("official") / "model"
    parent.save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "WanPipeline"
    for name in ("image_encoder", "image_processor"):
        index.pop(name)
    (folder / "model_index.json").write_text(json.dumps(index))
    # The published configuration says nothing of sizes.
    config = json.loads((folder / "transformer" / "config.json").read_text())
    for name in ("sample_frames", "sample_height", "sample_width", "max_text_seq_length"):
        config.pop(name)
    (folder / "transformer" / "config.json").write_text(json.dumps(config))
    return folder


def test_an_official_folder_opens_with_a_new_controller(official, parent, embedded):
    kind, whole = pipeline_class(official)
    assert kind is AnchorWeaveWanPipeline and not whole
    ours = kind.from_backbone(official)
    ours.set_progress_bar_config(disable=True)
    with pytest.warns(UserWarning, match="480x832"):
        made = run(ours, retrieved=known(), guidance_scale=1.0, max_sequence_length=32)
    assert alike(made, run(parent, guidance_scale=1.0, **embedded))


def other_index(official, tmp_path, **changes):
    folder = tmp_path / "other"
    folder.mkdir()
    for part in official.iterdir():
        if part.is_dir():
            (folder / part.name).symlink_to(part)
    (folder / "transformer_2").symlink_to(official / "transformer")
    index = json.loads((official / "model_index.json").read_text()) | changes
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    "changes, said",
    [
        (
            {"transformer_2": ["diffusers", "WanTransformer3DModel"], "boundary_ratio": 0.9},
            "two transformers.*A14B.*use a folder of Wan2.2-TI2V-5B-Diffusers",
        ),
        (
            {"transformer": ["diffusers", "WanVACETransformer3DModel"]},
            "VACE takes no timestep per token.*use a folder of Wan2.2-TI2V-5B-Diffusers",
        ),
        ({"expand_timesteps": False}, "no expand_timesteps.*Wan2.2-TI2V-5B-Diffusers"),
    ],
)
def test_other_wans_are_refused(official, tmp_path, changes, said):
    folder = other_index(official, tmp_path, **changes)
    for opens in (pipeline_class, AnchorWeaveWanPipeline.from_backbone):
        with pytest.raises(ValueError, match=said):
            opens(folder)


def test_controllers_of_another_family_are_refused(pipeline, tmp_path):
    cogvideox = tiny_components(frames=T, size=(H, W))
    cogvideox["controller"].save_pretrained(tmp_path / "cogvideox")
    pipeline.controller.save_pretrained(tmp_path / "wan")
    with pytest.raises(ValueError, match="family cogvideox, this one is of wan"):
        AnchorWeaveWanPipeline.from_backbone(pipeline, tmp_path / "cogvideox")
    with pytest.raises(ValueError, match="family wan, this one is of cogvideox"):
        AnchorWeavePipeline(**(cogvideox | {"controller": pipeline.controller}))


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"height": 48}, "divisible by 32; the nearest such size is 64x64"),
        ({"num_frames": 10}, "takes 1 \\+ 4k of them; the nearest lengths are 9 and 13"),
        ({"use_dynamic_cfg": True}, "one guidance scale for all steps"),
    ],
)
def test_calls_that_cannot_be_are_refused(pipeline, arguments, said):
    with pytest.raises(ValueError, match=said):
        run(pipeline, **arguments)


def test_parts_that_cannot_be_are_refused():
    parts = tiny_wan_components(frames=T, size=(H, W))
    other = WanTransformer3DModel(
        **{k: v for k, v in parts["transformer"].config.items() if k in ("num_layers", "ffn_dim")},
        num_attention_heads=2,
        attention_head_dim=32,
        text_dim=64,
        freq_dim=32,
        in_channels=36,
        out_channels=8,
    )
    with pytest.raises(ValueError, match="takes 36 channels and predicts 8"):
        AnchorWeaveWanPipeline(**(parts | {"transformer": other}))
    with pytest.raises(ValueError, match="prediction_type=epsilon, but Wan"):
        AnchorWeaveWanPipeline(**(parts | {"scheduler": UniPCMultistepScheduler()}))
    with pytest.raises(ValueError, match="two transformers"):
        AnchorWeaveWanPipeline(**parts, transformer_2=parts["transformer"])


def test_prompts_are_read_without_ftfy(pipeline, monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    features, _ = pipeline.encode_prompt(["a  room &amp; a lamp", ""], max_sequence_length=32)
    plain, _ = pipeline.encode_prompt("a room & a lamp", max_sequence_length=32)
    assert alike(features[:1], plain)
    # One end mark, and zeros behind it.
    assert features[1, 0].any() and not features[1, 1:].any()
    with pytest.warns(UserWarning, match="longer than 4 tokens"):
        pipeline.encode_prompt(PROMPT, max_sequence_length=4)


def test_bare_is_diffusers_for_several_images(pipeline):
    bare = AnchorWeaveWanPipeline.bare(pipeline.vae, pipeline.transformer, pipeline.scheduler)
    assert type(bare) is _SeveralImages and bare.config.expand_timesteps


def test_a_controller_may_start_from_the_backbones_blocks(pipeline):
    copied = make_controller(pipeline.transformer, "from_backbone")
    assert copied.config.num_heads == 2 and copied.config.feed_forward == 160
    theirs = pipeline.transformer.blocks[0].state_dict()
    assert all(value.equal(theirs[name]) for name, value in copied.blocks[0].state_dict().items())
    assert copied.time_embedding.time_proj.weight.equal(
        pipeline.transformer.condition_embedder.time_proj.weight
    )

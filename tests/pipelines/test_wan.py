"""AnchorWeaveWanPipeline: what Wan alone has."""

import json
import sys

import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)

from anchorweave.models.backbones import codec_of
from anchorweave.models.small.tiny import tiny_components
from anchorweave.models.small.tiny_wan import tiny_wan_components
from anchorweave.models.weaving.make_controller import make_controller
from anchorweave.pipelines import AnchorWeavePipeline, AnchorWeaveWanPipeline, pipeline_class
from anchorweave.pipelines.wan import _SeveralImages
from tests.alike import alike
from tests.pipelines import small
from tests.pipelines.small import MEMBERS, PROMPT, T, embedded, parent_of, run, teach

H, W = MEMBERS["wan"].size


@pytest.fixture(scope="module")
def pipeline():
    pipeline = make_pipeline()
    teach(pipeline.controller)
    return pipeline


@pytest.fixture(scope="module")
def parent(pipeline):
    return parent_of(pipeline)


def make_pipeline(seed=0, **changes):
    return small.make_pipeline(seed, "wan", **changes)


def picture(seed=0):
    return small.picture(seed, (H, W))


def known(slots=2, seed=0):
    return small.retrieved(slots, seed, size=(H, W))


def test_several_images_are_each_diffusers_own(parent):
    """Diffusers' own pipeline fails for several; each alone is what it makes of one."""
    zero = make_pipeline()
    images, prompts = torch.stack([picture(0), picture(1)]), [PROMPT, "a sunny street"]
    both = run(zero, images, prompts, (0, 7), retrieved=[known(), known(1)])
    theirs = run(parent, images[:1], seeds=(0,), **embedded(zero))
    assert alike(both[:1], theirs)
    assert alike(both[1:], run(parent, images[1:], seeds=(7,), **embedded(zero, prompts[1])))


def test_a_row_with_fewer_anchors_is_the_sample_alone_where_only_visible_tokens_attend(pipeline):
    images, prompts = [picture(0), picture(1)], [PROMPT, "a sunny street"]
    what = [known(2, 0), known(1, 1)]
    pipeline.controller.register_to_config(tokens="visible")
    try:
        both = run(pipeline, images, prompts, (0, 7), retrieved=what)
        alone = run(pipeline, [images[1]], [prompts[1]], [7], retrieved=[what[1]])
    finally:
        pipeline.controller.register_to_config(tokens="all")
    assert alike(both[1:], alone)


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
    # Two steps, each with and without the prompt.
    assert len(met) == 4
    for shown, timestep in met:
        assert alike(shown[:, :, 0], first)
        assert not timestep[:, : 1 * 2].any() and timestep[:, 2:].all()
    assert alike(latents[:, :, 0], first)


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


def test_an_official_folder_opens_with_a_new_controller(official, parent, pipeline):
    kind, whole = pipeline_class(official)
    assert kind is AnchorWeaveWanPipeline and not whole
    ours = kind.from_backbone(official)
    ours.set_progress_bar_config(disable=True)
    with pytest.warns(UserWarning, match="480x832"):
        size = {"height": H, "width": W, "max_sequence_length": 32}
        made = run(ours, picture()[None], retrieved=known(), guidance_scale=1.0, **size)
    assert alike(made, run(parent, guidance_scale=1.0, **embedded(pipeline)))


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
            "VACE has no timestep per token.*use a folder of Wan2.2-TI2V-5B-Diffusers",
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
        ({"num_frames": 10}, "accepts 1 \\+ 4k frames; the nearest lengths are 9 and 13"),
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
    with pytest.raises(ValueError, match="expects 36 channels and predicts 8"):
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

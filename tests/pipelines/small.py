"""A small pipeline of each family, what it is shown, and short runs of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from diffusers import CogVideoXDDIMScheduler, FlowMatchEulerDiscreteScheduler

from anchorweave.anchors import Anchors, References, Retrieved
from anchorweave.geometry.cameras import Cameras
from anchorweave.models.small.tiny import tiny_components
from anchorweave.models.small.tiny_wan import tiny_wan_components
from anchorweave.models.video_shape import own_size
from anchorweave.pipelines import WeavingMixin, pipeline_of

T = 9
PROMPT = "a slow walk through a kitchen"
# Parts that diffusers' own pipelines do not have.
OURS = ("controller", "references")


@dataclass(frozen=True)
class Member:
    """One family.

    Args:
        components: parts of its tiny model.
        size: (height, width), as small as its networks take.
        other_scheduler: of its own kind, beside the one that it comes with.
    """

    components: Callable[..., dict[str, object]]
    size: tuple[int, int]
    other_scheduler: Callable[[object], object]


MEMBERS = {
    "cogvideox": Member(
        tiny_components, (32, 48), lambda own: CogVideoXDDIMScheduler.from_config(own.config)
    ),
    "wan": Member(
        tiny_wan_components, (32, 64), lambda own: FlowMatchEulerDiscreteScheduler(shift=5.0)
    ),
}


def make_pipeline(seed=0, family="cogvideox", **changes):
    member = MEMBERS[family]
    return quiet(pipeline_of(family)(**(member.components(seed, T, member.size) | changes)))


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def parent_of(pipeline):
    """Diffusers' own pipeline of the same parts."""
    parts = {name: part for name, part in pipeline.components.items() if name not in OURS}
    # What no part is, such as Wan's timesteps per token.
    options = {k: v for k, v in pipeline.config.items() if k == "expand_timesteps"}
    return quiet(pipeline.official(**parts, **options))


def teach(controller, seed=0):
    """Random output projections, so that the controller has a say."""
    torch.manual_seed(seed)
    for project in [*controller.control_proj, *controller.camera_encoder.project]:
        torch.nn.init.normal_(project.weight, std=0.05)


def size_of(pipeline):
    return own_size(pipeline.transformer, pipeline.vae)


def picture(seed=0, size=MEMBERS["cogvideox"].size):
    return torch.rand(3, *size, generator=torch.Generator().manual_seed(seed))


def retrieved(slots=2, seed=0, frames=T, size=MEMBERS["cogvideox"].size):
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


def with_references(known, count=2, seed=3):
    """The same, with frames that were seen."""
    make = torch.Generator().manual_seed(seed)
    c2w = torch.eye(4).repeat(count, 1, 1)
    c2w[:, :3, 3] = torch.rand(count, 3, generator=make)
    size = tuple(known.anchors.video.shape[-2:])
    seen_by = Cameras(c2w, torch.eye(3).repeat(count, 1, 1), size)
    frames = torch.rand(count, 3, *size, generator=make)
    return replace(known, references=References(frames, seen_by, c2w))


def embedded(pipeline, prompt=PROMPT):
    """Features of a prompt and of the empty one: diffusers' own way to Wan's needs ftfy."""
    features = [pipeline.encode_prompt(words, max_sequence_length=32)[0] for words in (prompt, "")]
    return dict(zip(("prompt_embeds", "negative_prompt_embeds"), features, strict=True))


def run(pipeline, image=None, prompt=PROMPT, seeds=(0,), **arguments):
    """Latents of one short run, of our pipeline or, with `prompt_embeds`, of diffusers'."""
    makers = [torch.Generator().manual_seed(seed) for seed in seeds]
    height, width = size_of(pipeline)
    defaults = {"num_inference_steps": 2, "num_frames": T, "height": height, "width": width}
    if isinstance(pipeline, WeavingMixin) or "prompt_embeds" not in arguments:
        defaults["prompt"] = None if "prompt_embeds" in arguments else prompt
    if image is None:
        image = picture(size=(height, width))[None]
    defaults["output_type"] = "latent"
    return pipeline(image, generator=makers, **(defaults | arguments)).frames

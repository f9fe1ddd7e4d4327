"""A small precomputed data set and a small model folder, for runs that take seconds."""

import json

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX

from anchorweave.datasets.encoded_clip import (
    FEATURES,
    IMAGE,
    TARGET,
    anchors_key,
    references_key,
    visible_key,
    write_tensors,
)
from anchorweave.datasets.layout import (
    CAMERAS,
    CAPTION_FEATURES,
    EMPTY_CAPTION,
    LATENTS,
    RECORD,
)
from anchorweave.diffusion.v_prediction import VPrediction
from anchorweave.models.small.backbone import flow_schedule
from anchorweave.models.small.tiny import tiny_components
from anchorweave.models.small.vae import VAEConfig, wan_vae
from tests.models.small import S, T, h, small_backbone, t, w

MEMORY = "local_clouds"
TEXT = 12
# Falling to no signal at all, as CogVideoX's schedule does.
PROCESS = VPrediction(torch.linspace(0.999, 0.0, 1000))


def write_clips(root, count=6, slots=2, seed=0):
    """Clips whose target is what their first anchor shows, and some noise."""
    root.mkdir(parents=True)
    make = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=make)

    write_tensors(root / EMPTY_CAPTION, {FEATURES: torch.zeros(S, TEXT)}, {})
    for i in range(count):
        clip = root / f"clip_{i}"
        clip.mkdir()
        target = normal(t, 4, h, w)
        anchors = torch.stack([target + 0.1 * normal(t, 4, h, w) for _ in range(slots)])
        visible = torch.rand(slots, t, h // 2, w // 2, generator=make) > 0.3
        tensors = {
            TARGET: target,
            IMAGE: target[:1].clone(),
            anchors_key(MEMORY): anchors,
            visible_key(MEMORY): visible,
            # As many as there are clips before it, up to two: batches have to be padded.
            references_key(MEMORY): normal(min(i, 2), 4, h, w),
        }
        write_tensors(clip / LATENTS, tensors, {})
        write_tensors(clip / CAPTION_FEATURES, {FEATURES: normal(S, TEXT)}, {})
        pose = torch.eye(4).repeat(1 + slots, T, 1, 1)
        pose[..., :3, 3] = 0.1 * normal(1 + slots, T, 3)
        np.savez(
            clip / CAMERAS,
            c2w=pose[0].numpy(),
            K=np.tile(np.eye(3, dtype=np.float32), (T, 1, 1)),
            size=np.array([8 * h, 8 * w]),
            unit=np.array(1.0),
            target2first=pose[0].numpy(),
            **{
                f"target2source.{MEMORY}": pose[1:].numpy(),
                f"reference2first.{MEMORY}": pose[1:][:, 0].numpy()[: min(i, 2)],
            },
        )
        record = {"source": "made up", "frames": [], "history": [], "made": {}}
        (clip / RECORD).write_text(json.dumps(record))
    return root


def write_model(path, family="cogvideox"):
    """A folder in diffusers' layout without text parts: backbone, VAE and scheduler."""
    path.mkdir(parents=True)
    torch.manual_seed(0)
    pipeline, vae, scheduler = {"cogvideox": _cogvideox, "wan": _wan}[family]()
    parts = {"transformer": small_backbone(family=family), "vae": vae, "scheduler": scheduler}
    index = {"_class_name": pipeline, "_diffusers_version": "0"}
    if family == "wan":
        index["expand_timesteps"] = True
    for name, part in parts.items():
        part.save_pretrained(path / name)
        index[name] = [diffusers.__name__, type(part).__name__]
    (path / "model_index.json").write_text(json.dumps(index))
    return path


def _cogvideox():
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_height=8 * h,
        sample_width=8 * w,
        scaling_factor=0.7,
    )
    scheduler = tiny_components(frames=5, size=(32, 32))["scheduler"]
    return "CogVideoXImageToVideoPipeline", vae, scheduler


def _wan():
    vae = wan_vae(VAEConfig((8, 8, 8), latent_channels=4, family="wan"))
    return "WanImageToVideoPipeline", vae, flow_schedule()

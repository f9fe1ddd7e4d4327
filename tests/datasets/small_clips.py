"""Prepared and encoded clips of a few pixels, made without networks."""

import torch

from anchorweave.anchors import Anchors, ChunkReport, Pick, Retrieved, references_for
from anchorweave.datasets.encoded_clip import (
    FEATURES,
    IMAGE,
    TARGET,
    anchors_key,
    references_key,
    visible_key,
    write_tensors,
)
from anchorweave.datasets.layout import CAPTION_FEATURES, EMPTY_CAPTION, LATENTS
from anchorweave.datasets.prepared_clip import PreparedClip, write_prepared
from tests.rooms import walk

FRAMES, SIZE, SLOTS, UNIT = 5, (32, 64), 2, 2.5
MADE = {"code": 1, "frames": FRAMES, "recording": "r", "start": 0}


def pixels(seed: int = 0, made=None) -> PreparedClip:
    """A clip of a walk through the room; anchors see its left half, the last one nothing."""
    clip = walk(FRAMES, SIZE)
    visible = torch.zeros(SLOTS, FRAMES, *SIZE, dtype=torch.bool)
    visible[:-1, ..., : SIZE[1] // 2] = True
    video = torch.where(visible[:, :, None], clip.frames[None], 0.0)
    source = clip.cameras.relative_to(clip.cameras[0]).expand(SLOTS, -1, -1, -1).clone()
    report = (ChunkReport(0, FRAMES, 3, (Pick(0, 2, "room 2", 0.5, 0.5),), "pool empty"),)
    seen = walk(FRAMES + 2, SIZE)[FRAMES:]
    references = references_for(clip.cameras, seen.frames, seen.cameras)
    known = Retrieved(Anchors(video, visible, source), references, source[0], report)
    return PreparedClip(
        source="somewhere/room",
        frame_names=clip.names,
        history_names=("h",),
        video=clip.frames,
        cameras=clip.cameras,
        unit=UNIT,
        retrieved={"local_clouds": known},
        caption=f"a room, number {seed}",
        made=made or MADE,
    )


def latents(seed: int = 0) -> dict[str, torch.Tensor]:
    """What precomputing would add, as random numbers."""
    g = torch.Generator().manual_seed(seed)
    return {
        TARGET: torch.randn(2, 4, 4, 8, generator=g),
        IMAGE: torch.randn(1, 4, 4, 8, generator=g),
        anchors_key("local_clouds"): torch.randn(SLOTS, 2, 4, 4, 8, generator=g),
        visible_key("local_clouds"): torch.zeros(SLOTS, 2, 2, 4, dtype=torch.bool),
        references_key("local_clouds"): torch.randn(2, 4, 4, 8, generator=g),
    }


def write_clip(
    root, name: str, seed: int = 0, made=None, encoded: bool = True, storage: str = "video"
):
    """A clip folder; returns its path."""
    path = root / name
    path.mkdir(parents=True)
    write_prepared(path, pixels(seed, made), fps=8, storage=storage)
    if encoded:
        write_tensors(path / LATENTS, latents(seed), {"vae": "v"})
        features = {FEATURES: torch.randn(3, 6, generator=torch.Generator().manual_seed(seed))}
        write_tensors(path / CAPTION_FEATURES, features, {"caption": f"a room, number {seed}"})
        write_tensors(root / EMPTY_CAPTION, {FEATURES: torch.zeros(3, 6)}, {"caption": ""})
    return path

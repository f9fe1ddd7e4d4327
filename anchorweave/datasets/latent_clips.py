"""Prepared and precomputed clips, as input to training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from anchorweave.anchors import AnchorLatents, PrecedingLatents, scale_translation
from anchorweave.datasets.encoded_clip import (
    FEATURES,
    IMAGE,
    MADE_BEFORE,
    TARGET,
    anchors_key,
    coverage_key,
    preceding_keys,
    read_made,
    read_tensors,
    references_key,
    visible_key,
)
from anchorweave.datasets.layout import (
    CAMERAS,
    CAPTION_FEATURES,
    EMPTY_CAPTION,
    LATENTS,
    BadClip,
    prepared_clips,
    read_quarantine,
)
from anchorweave.datasets.prepared_clip import ClipCameras
from anchorweave.datasets.prepared_clip_reading import check_sums, read_cameras
from anchorweave.datasets.training_clip import TrainingClip, training_clip


class LatentClips(Dataset):
    """The clips of a prepared data set with the anchors and references of one memory system.

    Deterministic: an index always returns the same clip; shuffling is left to training.

    Args:
        root: the data set's folder.
        memory: name of the memory system; None = without anchors and references, for training
            only a backbone.
        first_frame: whether the tokens of an anchor's latent frame 0 count as visible only where
            they were `seen`, or `always`, as the released controller was trained.
        quarantine: clips to exclude, with the reason; None = the data set's own list
            (`quarantine.json`). Those that were excluded are in `quarantined`.

    Raises:
        ValueError: there are no clips; the message says why.
    """

    def __init__(
        self,
        root: str | Path,
        memory: str | None = "local_clouds",
        first_frame: Literal["seen", "always"] = "seen",
        quarantine: Mapping[str, str] | None = None,
    ):
        self.root, self.memory, self.first_frame = Path(root), memory, first_frame
        clips = prepared_clips(root)
        listed = read_quarantine(root) if quarantine is None else quarantine
        self.quarantined = {clip.name: listed[clip.name] for clip in clips if clip.name in listed}
        self.clips = [clip for clip in clips if clip.name not in listed]
        if not self.clips:
            name, reason = next(iter(self.quarantined.items()))
            raise ValueError(
                f"{root}: 0 clips, because all {len(clips)} are in quarantine ({name}: {reason}); "
                "fix them and run training.doctor again"
            )

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> TrainingClip:
        """One clip, float32, lengths in scene units.

        Raises:
            BadClip: a part is missing, unreadable, not finite, or inconsistent with the others.
        """
        return read_clip(self.clips[index], self.memory, self.first_frame)

    def holes(self) -> str:
        """How holes of the anchors were filled, from the first clip with readable latents.

        Raises:
            BadClip: no clip has readable latents.
        """
        for clip in self.clips:
            try:
                return holes_of(clip)
            except BadClip as error:
                bad = error
        raise bad

    def empty_prompt(self) -> Float[Tensor, "S D"]:
        """Features of the empty prompt, for caption dropout and guidance.

        Raises:
            BadClip: they were not precomputed, or cannot be read.
        """
        return read_tensors(self.root / EMPTY_CAPTION, (FEATURES,))[FEATURES]


def read_clip(
    clip: Path, memory: str | None, first_frame: Literal["seen", "always"] = "seen"
) -> TrainingClip:
    """Reads one precomputed clip with the anchors of one memory system; see `LatentClips`.

    Raises:
        BadClip: a part is missing, unreadable, not finite, or inconsistent with the others.
    """
    keys = (anchors_key, visible_key, references_key)
    names = () if memory is None else tuple(key(memory) for key in keys)
    share_name = coverage_key(memory or "")
    if_there = (share_name, *preceding_keys(memory or ""))
    encoded = read_tensors(clip / LATENTS, (TARGET, IMAGE, *names), if_there)
    share = encoded.get(share_name)
    poses = read_cameras(clip)
    check_sums(clip, (CAMERAS,))
    if memory is None:
        anchors, seen, target2source = _no_anchors(encoded[TARGET], poses.target2first)
        references, reference2first = encoded[TARGET][:0], poses.target2first[:0]
    elif memory in poses.target2source:
        anchors, seen, references = (encoded[name] for name in names)
        target2source = poses.target2source[memory]
        reference2first = poses.reference2first[memory]
    else:
        systems = ", ".join(poses.target2source) or "none"
        raise BadClip(clip, f"{CAMERAS} has no poses of {memory}, only of: {systems}")
    if first_frame == "always":
        seen[:, 0] = True
        if share is not None:
            share[:, 0] = 1
    return training_clip(
        clip,
        latents=encoded[TARGET],
        image_latents=encoded[IMAGE],
        prompt_features=read_tensors(clip / CAPTION_FEATURES, (FEATURES,))[FEATURES],
        anchor_latents=anchors,
        visible_tokens=seen,
        target2source=scale_translation(target2source.float(), 1 / poses.unit),
        target2first=scale_translation(poses.target2first.float(), 1 / poses.unit),
        reference_latents=references,
        reference2first=scale_translation(reference2first.float(), 1 / poses.unit),
        coverage=share,
        holes=holes_of(clip),
        preceding=_preceding(clip, memory or "", encoded, poses),
    )


def holes_of(clip: Path) -> str:
    """How holes of the anchors of a precomputed clip were filled.

    Raises:
        BadClip: latents are missing or unreadable.
    """
    return (MADE_BEFORE | read_made(clip / LATENTS))["holes"]


def _preceding(
    clip: Path, memory: str, encoded: Mapping[str, Tensor], poses: ClipCameras
) -> PrecedingLatents | None:
    """A batch of one; None if the memory system provides no preceding frames."""
    if memory not in poses.preceding2first:
        return None
    keys = preceding_keys(memory)
    if lacking := [key for key in keys if key not in encoded]:
        raise BadClip(
            clip,
            f"{LATENTS} lacks {lacking}, but {CAMERAS} has poses of preceding frames of {memory}; "
            "remove the file and precompute it again",
        )
    latents, anchors, visible, share = (encoded[key][None] for key in keys)
    source, first = (
        scale_translation(of[memory].float(), 1 / poses.unit)[None]
        for of in (poses.preceding2source, poses.preceding2first)
    )
    return PrecedingLatents(latents, AnchorLatents(anchors, visible, source, first, share))


def _no_anchors(latents: Tensor, target2first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Empty latents, visible tokens and poses."""
    grid = (latents.shape[-2] // 2, latents.shape[-1] // 2)
    return (
        torch.zeros(0, *latents.shape),
        torch.zeros(0, len(latents), *grid, dtype=torch.bool),
        torch.zeros(0, *target2first.shape),
    )

"""Checks that clips were encoded by the encoders of a run's model."""

from __future__ import annotations

from collections.abc import Callable

from anchorweave.datasets.encoded_clip import read_made
from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.layout import CAPTION_FEATURES, LATENTS, BadClip
from anchorweave.datasets.mixture import Mixture
from anchorweave.models.encoders import Encoders

# File -> the encoders it records: by content, and as files (under another key), which is all that
# older files record.
SAID = {
    LATENTS: ("VAE", "vae_content", "vae_weights", "vae"),
    CAPTION_FEATURES: ("text encoder", "text_content", "text_weights", "text_encoder"),
}


def check_encoded_by(clips: Mixture, encoders: Encoders, say: Callable[[str], None]) -> None:
    """Compares the encoders of the clips with those of the model that training uses.

    Checks the first clip of every data set: differences within a set are found by the doctor. Clips
    of the released layout record no encoders.

    Args:
        clips: all data sets.
        encoders: encoders of the model that `model.path` names.
        say: prints what cannot be determined.

    Raises:
        ValueError: a data set whose clips were encoded by others.
    """
    for root, clip_set in clips.sets.items():
        if not isinstance(clip_set, LatentClips):
            continue
        for file, (what, content, as_files, key) in SAID.items():
            try:
                made = read_made(clip_set.clips[0] / file)
            except BadClip:
                continue  # reported when the clip itself is read
            try:
                own = getattr(encoders, content), getattr(encoders, as_files)
            except FileNotFoundError:
                continue  # a model without this encoder did not encode the clips, and needs none
            if content in made and made[content] != own[0]:
                raise ValueError(
                    f"{root}: {file} was made with another {what} ({made[content]}) than that of "
                    f"model.path={encoders.path} ({own[0]}); remove every {file} and "
                    f"precompute with model.path={encoders.path}, or name the model that made them"
                )
            if content not in made and made.get(key, own[1]) != own[1]:
                say(
                    f"{root}: {file} is of an earlier version and names another {what} "
                    f"({made[key]}) than that of model.path={encoders.path} "
                    f"({own[1]}), possibly the same one saved again: this cannot be determined"
                )

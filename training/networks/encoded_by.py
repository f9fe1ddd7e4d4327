"""Checks that clips were encoded with the same encoders as the run's model has."""

from __future__ import annotations

from collections.abc import Callable

from anchorweave.datasets.encoded_clip import read_made
from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.layout import CAPTION_FEATURES, LATENTS, BadClip
from anchorweave.datasets.mixture import Mixture
from anchorweave.models.encoders import Encoders

# File -> its record of the encoders: by content, and as files (under another key), which is all
# that older files have.
SAID = {
    LATENTS: ("VAE", "vae_content", "vae_weights", "vae"),
    CAPTION_FEATURES: ("text encoder", "text_content", "text_weights", "text_encoder"),
}


def check_encoded_by(clips: Mixture, encoders: Encoders, say: Callable[[str], None]) -> None:
    """Compares the encoders that clips were encoded with to those of the run's model.

    Checks the first clip of every data set; inconsistencies within a set are left to the doctor.
    Clips in the released layout have no record.

    Args:
        clips: all data sets.
        encoders: encoders of the model at `model.path`.
        say: prints notes about undecidable cases.

    Raises:
        ValueError: a data set whose clips were encoded with other encoders.
    """
    for root, one in clips.sets.items():
        if not isinstance(one, LatentClips):
            continue
        for file, (what, content, as_files, key) in SAID.items():
            try:
                made = read_made(one.clips[0] / file)
            except BadClip:
                continue  # reported when the clip itself is read
            try:
                own = getattr(encoders, content), getattr(encoders, as_files)
            except FileNotFoundError:
                continue  # a model without this part did not encode the clips, and does not need it
            if content in made and made[content] != own[0]:
                raise ValueError(
                    f"{root}: {file} was made by another {what} ({made[content]}) than that of "
                    f"model.path={encoders.path} ({own[0]}); remove every {file} and "
                    f"precompute with model.path={encoders.path}, or name the model that made them"
                )
            if content not in made and made.get(key, own[1]) != own[1]:
                say(
                    f"{root}: {file} is of an earlier version and names another {what} "
                    f"({made[key]}) than that of model.path={encoders.path} "
                    f"({own[1]}), perhaps the same one saved again: nobody can tell"
                )

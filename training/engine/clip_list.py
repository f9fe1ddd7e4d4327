"""Which clips a training had when it went on, so that it is said when some are gone or new."""

from __future__ import annotations

import json
from pathlib import Path

from anchorweave.datasets.mixture import Mixture
from anchorweave.files import atomic_write

CLIPS = "clips.json"
# Clips named in a message before the rest is only counted.
NAMED = 5


def changed_clips(output: Path, clips: Mixture) -> list[str]:
    """What is other than in the last go, a line for each data set with clips that are gone or new.

    Args:
        output: of the training.
        clips: all of its data sets.

    Raises:
        ValueError: the list of the last go cannot be read.
    """
    file = output / CLIPS
    if not file.is_file():
        return []
    try:
        before = {root: [str(name) for name in names] for root, names in _read(file).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} cannot be read ({error}); remove it, and nobody is told which clips have "
            "changed since the last go"
        ) from error
    lines = []
    for root, names in _names(clips).items():
        # A set that is new is told by the config.
        were = before.get(root, names)
        gone = [name for name in were if name not in set(names)]
        new = [name for name in names if name not in set(were)]
        changes = ((gone, "gone"), (new, "new"))
        said = [f"{len(some)} are {how} ({_some(some)})" for some, how in changes if some]
        if said:
            lines.append(
                f"warning: {root}: of its clips, {' and '.join(said)} since the last go, so clips "
                "come in another order than they would have"
            )
    return lines


def keep_clips(output: Path, clips: Mixture) -> None:
    """Write down which clips there are now."""
    with atomic_write(output / CLIPS) as aside:
        aside.write_text(json.dumps(_names(clips), indent=1) + "\n")


def _names(clips: Mixture) -> dict[str, list[str]]:
    return {
        str(root): [str(clip.relative_to(one.root)) for clip in one.clips]
        for root, one in clips.sets.items()
    }


def _read(file: Path) -> dict:
    return json.loads(file.read_text())


def _some(names: list[str]) -> str:
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more

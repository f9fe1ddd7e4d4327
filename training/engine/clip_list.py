"""Records the clips of a training run, to report removed and added ones when it resumes."""

from __future__ import annotations

import json
from pathlib import Path

from anchorweave.datasets.mixture import Mixture
from anchorweave.files import atomic_write

CLIPS = "clips.json"
# Clips listed in a message; the rest is only counted.
NAMED = 5


def changed_clips(output: Path, clips: Mixture) -> list[str]:
    """Differences from the last run, a line for each data set with removed or added clips.

    Args:
        output: output folder of the training run.
        clips: all of its data sets.

    Raises:
        ValueError: the list of the last run cannot be read.
    """
    file = output / CLIPS
    if not file.is_file():
        return []
    try:
        before = {root: [str(name) for name in names] for root, names in _read(file).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} cannot be read ({error}); remove it to continue without a report of clips "
            "that have changed since the last run"
        ) from error
    lines = []
    for root, names in _names(clips).items():
        # New data sets show up in the config.
        were = before.get(root, names)
        known_now, known_then = set(names), set(were)
        gone = [name for name in were if name not in known_now]
        new = [name for name in names if name not in known_then]
        changes = ((gone, "gone"), (new, "new"))
        parts = [f"{len(some)} are {how} ({_some(some)})" for some, how in changes if some]
        if parts:
            lines.append(
                f"warning: {root}: of its clips, {' and '.join(parts)} since the last run, so the "
                "order of clips changes"
            )
    return lines


def keep_clips(output: Path, clips: Mixture) -> None:
    """Records the current clips."""
    with atomic_write(output / CLIPS) as aside:
        aside.write_text(json.dumps(_names(clips), indent=1) + "\n")


def _names(clips: Mixture) -> dict[str, list[str]]:
    return {
        str(root): [str(clip.relative_to(clip_set.root)) for clip in clip_set.clips]
        for root, clip_set in clips.sets.items()
    }


def _read(file: Path) -> dict:
    return json.loads(file.read_text())


def _some(names: list[str]) -> str:
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more

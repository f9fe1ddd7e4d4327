"""Handles clips that fail during training: stops, or quarantines a limited number."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from anchorweave.datasets.layout import BadClip
from training.options.training import DataConfig

RECORD = "bad_clips.jsonl"


class BadClips:
    """Policy for bad clips.

    Args:
        config: options.
        clips: total number of clips.
        output: the run's folder, where they are recorded.
    """

    def __init__(self, config: DataConfig, clips: int, output: Path):
        self.config, self.clips, self.path = config, clips, output / RECORD
        self.met: dict[str, str] = {}

    def refuse(self, bad: Iterable[BadClip]) -> None:
        """Raises the first one, if the run stops at bad clips.

        Raises:
            BadClip: with its path and what to do.
        """
        for error in bad:
            if self.config.on_bad_clip == "error":
                raise BadClip(
                    error.path,
                    f"{error.reason}; fix it, let training.doctor exclude it, or set "
                    "data.on_bad_clip=quarantine",
                ) from error

    def record(self, bad: Iterable[tuple[str, str]], writes: bool) -> None:
        """Records (path, reason) of the bad clips of all ranks.

        Args:
            bad: those of this step.
            writes: whether this rank writes the record.

        Raises:
            ValueError: more than `data.bad_clip_share` of the clips failed.
        """
        new = {path: reason for path, reason in bad if path not in self.met}
        self.met |= new
        if writes:
            with self.path.open("a") as file:
                for path, reason in new.items():
                    file.write(json.dumps({"clip": path, "reason": reason}) + "\n")
                    print(f"quarantined {path}: {reason}", flush=True)
        if len(self.met) > self.config.bad_clip_share * self.clips:
            raise ValueError(
                f"{len(self.met)} of {self.clips} clips failed, more than "
                f"data.bad_clip_share={self.config.bad_clip_share}; the first: "
                f"{next(iter(self.met))}. {self.path} lists them; run training.doctor"
            )

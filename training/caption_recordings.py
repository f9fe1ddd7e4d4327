"""Captions recordings: with a model every N frames, or from a data set's table.

    python -m training.caption_recordings source=data/walks model=pretrained/git-base-vatex
    python -m training.caption_recordings source=data/walks model=pretrained/Qwen2.5-VL every=97
    python -m training.caption_recordings source=miradata table=miradata_v0.csv

SPMem and Context-as-Memory caption stretches of long videos (97 and 77 frames) with a video model.
A model's captions are written to captions.txt in each recording's folder (X.captions.txt beside a
file X), a table's to caption.txt (X.caption.txt); preparing reads both. Recordings that already
have such a file are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.files import atomic_write
from anchorweave.models.captioner import Captioner
from anchorweave.progress import progress
from anchorweave.ranges import check_numbers, within
from anchorweave.recordings import Recording, RecordingConfig, open_recording
from anchorweave.recordings.base import CAPTION
from anchorweave.recordings.captions import CAPTIONS, Stretch, write_stretches
from anchorweave.recordings.procedural_rooms.recording import PREFIX
from anchorweave.recordings.search import find_recordings
from training.preparing.caption_table import caption_in, read_captions


@dataclass(frozen=True)
class CaptionRecordingsConfig:
    """What to caption, and how.

    Args:
        source: a recording, a folder with recordings at any depth, or a list of these.
        model: folder or hub name of a transformers model for video captioning (GIT's, such as
            microsoft/git-base-vatex), chat with images (Qwen-VL and similar), or image captioning
            (which captions the middle frame of a stretch); either this or `table` is required.
        question: prompt for a chat model; null = a default one.
        frames: number of frames of a stretch for a chat model; null = 8.
        every: frames per stretch (Context-as-Memory: 77); a remainder shorter than half of it is
            merged into the stretch before.
        table: CSV file with captions of whole recordings by name.
        key: its column of names (MiraData: index).
        column: its column of captions.
        missing: how to handle frames that a recording lists but does not contain.

    Raises:
        ValueError: no source, empty stretches, or not exactly one of `model` and `table`.
    """

    source: Any = "data/example_dataset"
    model: str | None = None
    question: str | None = None
    frames: int | None = within(None, at_least=1)
    every: int = 77
    table: str | None = None
    key: str = "index"
    column: str = "dense_caption"
    missing: Literal["error", "skip"] = "error"

    def __post_init__(self):
        check_numbers(self)
        if not self.source:
            raise ValueError(f"source={self.source} lists no recordings")
        if self.every < 1:
            raise ValueError(f"every={self.every}: a stretch must have at least 1 frame")
        if self.model and self.table:
            raise ValueError("model= and table= are both set: captions come from one of them")
        for name in ("question", "frames"):
            if self.table and getattr(self, name) is not None:
                raise ValueError(f"{name}={getattr(self, name)} is for model=, not for table=")


def main(words: Sequence[str]) -> None:
    """Captions recordings, with `a.b=c` overrides."""
    config = load_config(CaptionRecordingsConfig, words)
    if not config.model and not config.table:
        raise ValueError(
            "model= is missing: name a folder with a captioning model of transformers, such as "
            "pretrained/git-base-vatex (`hf download microsoft/git-base-vatex "
            "--local-dir pretrained/git-base-vatex` fetches it), or a data set's own table=FILE.csv"
        )
    recordings = find_recordings(config.source)
    if made := [path for path in recordings.values() if path.split(":")[0] == PREFIX]:
        raise ValueError(
            f"{made[0]}: is rendered on the fly, so captions cannot be stored beside it"
        )
    if config.table:
        _from_table(config, [Path(path) for path in recordings.values()])
    else:
        _from_model(config, list(recordings.values()))


def _from_table(config: CaptionRecordingsConfig, recordings: Sequence[Path]) -> None:
    captions = read_captions(Path(config.table), config.key, config.column)
    files = {path: _beside(path, CAPTION) for path in recordings}
    todo = [path for path, file in files.items() if not file.exists()]
    captions_by_path = {path: caption_in(captions, path) for path in todo}
    lacking = [path for path, words in captions_by_path.items() if words is None]
    if todo and len(lacking) == len(todo):
        raise ValueError(
            f"{config.table}: column {config.key!r} names none of {len(todo)} recordings, such as "
            f"{todo[0].name}; it names {next(iter(captions), 'nothing')}"
        )
    for path, words in captions_by_path.items():
        if words is not None:
            with atomic_write(files[path]) as aside:
                aside.write_text(words + "\n", encoding="utf-8")
    print(
        f"{len(todo) - len(lacking)} captions written, {len(recordings) - len(todo)} existed, "
        f"{len(lacking)} recordings are not in {config.table}"
        + (f", such as {lacking[0]}" if lacking else "")
    )


def _from_model(config: CaptionRecordingsConfig, recordings: Sequence[str]) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    captioner = Captioner(config.model, device, config.question, config.frames)
    for path in progress(recordings, "captioning"):
        recording = open_recording(path, config.missing, RecordingConfig())
        if recording.stretches():
            print(f"{path}: already has captions of its stretches, skipped")
            continue
        stretches = caption_recording(recording, captioner, config.every)
        file = _beside(recording.path, CAPTIONS)
        with atomic_write(file) as aside:
            aside.write_text(write_stretches(stretches), encoding="utf-8")
        print(f"{file}: {len(stretches)} captions")


def _beside(recording: Path, name: str) -> Path:
    """Where a recording's captions are stored."""
    return recording / name if recording.is_dir() else recording.with_suffix(f".{name}")


def caption_recording(recording: Recording, captioner: Captioner, every: int) -> list[Stretch]:
    """Captions of stretches of `every` frames; decodes only the frames that are used.

    Raises:
        ValueError: a trajectory without images, or a model that returns no words.
    """
    if not recording.has_frames:
        raise ValueError(f"{recording.path}: is only a trajectory; there is nothing to describe")
    count = len(recording)
    parts = max(1, (2 * count + every) // (2 * every))
    stretches = []
    for i in range(parts):
        first, end = i * every, count if i == parts - 1 else (i + 1) * every
        selected = [recording.frame(first + at) for at in captioner.looks_at(end - first)]
        stretches.append(Stretch(first, end - 1, captioner.describe(selected)))
    return stretches


COMMAND = Command(main, CaptionRecordingsConfig)

if __name__ == "__main__":
    COMMAND.run()

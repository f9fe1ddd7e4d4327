r"""Recordings to prepared clips: target videos with the anchors that memory has for them.

    python -m training.prepare_clips                           # the embedded example, on a CPU
    python -m training.prepare_clips source=data/rooms output=outputs/prepared clips_per_recording=8
    torchrun --nproc_per_node 16 -m training.prepare_clips \
        config=configs/data/prepare_480x720.yaml source=data/dl3dv output=outputs/dl3dv

A second run makes only what is missing. Every clip keeps what it was made with; one that was made
with something else is an error. `data/prepared_clip.md` describes what is written.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anchorweave.clip import Clip
from anchorweave.config import load_config, save_config
from anchorweave.datasets.fingerprint import check_made
from anchorweave.datasets.layout import CONFIG, BadClip, remove_unfinished
from anchorweave.datasets.prepared_clip import PreparedClip, read_record, write_prepared
from anchorweave.datasets.splits import Split
from anchorweave.evaluation.contradiction import check_memories
from anchorweave.files import written_aside
from anchorweave.memory import Bank, open_memory
from anchorweave.perception import make_perception
from anchorweave.recordings import Recording, open_recording
from anchorweave.world import scene_unit
from training.captions import make_caption
from training.prepare_config import PrepareConfig
from training.sharding import Shard, Tally
from training.sources import find_recordings, windows

DEFAULT = "configs/data/prepare_tiny.yaml"


def main(words: Sequence[str]) -> None:
    """Prepare this process's share of the clips, with `a.b=c` overrides."""
    config = load_config(PrepareConfig, words, DEFAULT)
    recordings = find_recordings(config.source)
    shard = Shard(cpu=config.caption.kind != "model")
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    shard.console.print(f"preparing {len(recordings)} recording(s) into {output}", markup=False)
    preparer = Preparer(config, shard)
    tally = shard.run(list(recordings.items()), preparer.prepare, "recordings")
    # Written last: by then no clip contradicts it.
    if shard.is_main:
        save_config(config, output / CONFIG)
    shard.finish(tally, f"clips in {output}")


class Preparer:
    """Makes the clips of one recording after another.

    Args:
        config: how.
        shard: the process that it works in.
    """

    def __init__(self, config: PrepareConfig, shard: Shard):
        self.config = config
        self._caption = make_caption(config.caption, shard.device)
        self._perception = make_perception(config.perception.kind, config.perception)
        self._made = config.made()

    def prepare(self, entry: tuple[str, str]) -> Tally:
        """All clips of the recording (name, path) that are not there yet.

        What is wrong with a recording is told at the end, after the others were prepared; a clip
        that was made otherwise, or a disk that is full, ends the run.

        Raises:
            FingerprintError: a clip that is there was made with something else.
            OSError: a clip could not be written.
        """
        name, path = entry
        try:
            recording = open_recording(path, self.config.missing)
            stretches = windows(
                len(recording),
                self.config.frames,
                self.config.split,
                self.config.clips_per_recording,
                self.config.stride,
            )
        except (ValueError, FileNotFoundError) as error:
            return Tally(failed={name: str(error)})
        return sum((self._one(name, recording, stretch) for stretch in stretches), Tally())

    def _one(self, recording_name: str, recording: Recording, split: Split) -> Tally:
        start = min(split.target + split.history)
        name = f"{recording_name}_{start:06d}"
        path = Path(self.config.output) / name
        made = {**self._made, "recording": _identity(recording), "start": start}
        if path.exists():
            try:
                there = read_record(path)["made"]
            except BadClip as bad:
                return Tally(failed={name: f"{bad}; remove {path} to have it made again"})
            way_out = "give another output=, or remove it to have it made again"
            check_made(path, there, made, way_out)
            return Tally(there=1)
        remove_unfinished(path)
        try:
            with written_aside(path) as aside:
                aside.mkdir()
                clip = self._clip(name, recording, split, made, aside / "memories")
                write_prepared(aside, clip, self.config.fps, self.config.pixels)
        except (ValueError, FileNotFoundError) as error:
            return Tally(failed={name: str(error)})
        return Tally(made=1)

    def _clip(
        self, name: str, recording: Recording, split: Split, made: dict, banks: Path
    ) -> PreparedClip:
        target = recording.clip(split.target, self.config.size)
        caption = self._caption(recording, target.frames)
        # As when generating: the first target frame is what image-to-video starts from, so it is
        # seen, and seen last.
        seen = self._perception(recording.clip([*split.history, split.target[0]], self.config.size))
        check_memories(seen, self.config.check, name)
        retrieved = {
            kind: self._retrieved(kind, name, seen, target, banks / kind)
            for kind in self.config.memories
        }
        shutil.rmtree(banks)
        return PreparedClip(
            source=str(recording.path),
            frame_names=target.names,
            history_names=seen.names[:-1],
            video=target.frames,
            cameras=target.cameras,
            unit=scene_unit(seen.depth[-1]),
            retrieved=retrieved,
            caption=caption,
            made=made,
        )

    def _retrieved(self, kind: str, name: str, seen: Clip, target: Clip, bank: Path):
        config = self.config
        memory = open_memory(
            Bank(bank),
            replace(config.memory, kind=kind),
            replace(config.retrieval, seed=_seed(config.retrieval.seed, name)),
            config.rendering,
        )
        memory.update(seen)
        return memory.retrieve(target.cameras)


def _identity(recording: Recording) -> str:
    """A short name for the recording itself, wherever it lies: of its frames' names and cameras."""
    found = hashlib.sha256("\n".join(recording.names).encode())
    for part in (recording.cameras.c2w, recording.cameras.K):
        found.update(part.contiguous().numpy().tobytes())
    if any(recording.cameras.origin):
        found.update(repr(recording.cameras.origin).encode())
    return found.hexdigest()[:16]


def _seed(seed: int, clip: str) -> int:
    """A seed of its own for every clip, whichever process makes it."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{clip}".encode()).digest()[:4], "big")


if __name__ == "__main__":
    main(sys.argv[1:])

r"""Prepares clips from recordings: target videos with the anchors retrieved for them.

    python -m training.prepare_clips                           # the embedded example, on a CPU
    python -m training.prepare_clips source=data/rooms output=outputs/prepared clips_per_recording=8
    PROCESSES=16 bash scripts/prepare_data.sh \
        config=configs/data/prepare_480x720.yaml source=data/dl3dv output=outputs/dl3dv

A second run makes only what is missing. Every clip records the settings it was made with; a clip
made with other settings is an error. `data/README.md` describes what is written.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anchorweave.clip import Clip
from anchorweave.command import Command
from anchorweave.config import load_config, save_config
from anchorweave.datasets.fingerprint import check_made, digest
from anchorweave.datasets.layout import CONFIG, BadClip, remove_unfinished
from anchorweave.datasets.prepared_clip import OWN_CAPTION, PreparedClip, write_prepared
from anchorweave.datasets.prepared_clip_reading import read_record
from anchorweave.datasets.splits import Split
from anchorweave.evaluation.contradiction import check_memories
from anchorweave.files import atomic_write
from anchorweave.memory import Bank, open_memory
from anchorweave.perception import check_depth, make_perception
from anchorweave.recordings import Recording, open_recording
from anchorweave.recordings.base import CAPTION
from anchorweave.recordings.identity import content_of
from anchorweave.recordings.procedural_rooms.recording import PREFIX
from anchorweave.recordings.reading import reading
from anchorweave.world import scene_unit
from training.preparing.captions import make_caption
from training.preparing.config import PrepareConfig
from training.preparing.one_run import one_run_in
from training.preparing.sharding import Shard, Tally
from training.preparing.sources import find_recordings, windows

DEFAULT = "configs/data/prepare_tiny.yaml"
# Recordings listed in a message; the rest is only counted.
NAMED = 5
# In the settings of a clip: a checksum of its recording's files. Older clips lack it.
CONTENT = "content"


def main(words: Sequence[str]) -> None:
    """Prepares this process's share of the clips, with `a.b=c` overrides."""
    config = load_config(PrepareConfig, words, DEFAULT)
    recordings = find_recordings(config.source)
    shard = Shard(cpu=config.caption.kind != "model")
    output = Path(config.output)
    with one_run_in(output):
        shard.console.print(f"preparing {len(recordings)} recording(s) into {output}", markup=False)
        preparer = Preparer(config, shard)
        preparer.look_at(shard.of(list(recordings.items())))
        tally = shard.run(list(recordings.items()), preparer.prepare, "recordings")
        # Written last, when no existing clip contradicts it.
        if shard.is_main:
            save_config(config, output / CONFIG)
        shard.finish(tally, f"clips in {output}")


class Preparer:
    """Makes the clips of one recording after another.

    Args:
        config: options.
        shard: this process's share of the work.
    """

    def __init__(self, config: PrepareConfig, shard: Shard):
        self.config, self._shard = config, shard
        self._caption = make_caption(config.caption, shard.device)
        self._perception = make_perception(config.perception.kind, config.perception)
        self._made = config.made()

    def look_at(self, entries: Sequence[tuple[str, str]]) -> None:
        """Reports what the recordings (name, path) lack, before hours are spent on the first one.

        Procedural rooms lack nothing, and are skipped.
        """
        silent, wrong = [], {}
        for name, path in entries:
            if path.split(":")[0] == PREFIX:
                continue
            try:
                recording, _ = self._opened(path)
                if self.config.caption.kind == "sidecar" and recording.caption() is None:
                    silent.append(name)
            except (ValueError, FileNotFoundError) as error:
                wrong[name] = str(error)
        for name, reason in wrong.items():
            self._shard.say(f"cannot be prepared: {name}: {reason}")
        if silent:
            more = f" and {len(silent) - NAMED} more" if len(silent) > NAMED else ""
            self._shard.say(
                f"{len(silent)} of {len(entries)} recording(s) have no {CAPTION}, so their clips "
                f"get the empty prompt: {', '.join(silent[:NAMED])}{more}; add one to each, or "
                "set caption.kind=text caption.text=..., or caption.kind=model caption.model=..."
            )

    def prepare(self, entry: tuple[str, str]) -> Tally:
        """Makes all missing clips of the recording (name, path).

        Problems of a recording are reported at the end, after the others were prepared; an existing
        clip with other settings, or a full disk, ends the run.

        Raises:
            FingerprintError: a clip exists that was made with other settings.
            OSError: a clip could not be written.
        """
        name, path = entry
        try:
            recording, stretches = self._opened(path)
            with reading(path):
                made = {"recording": _identity(recording), CONTENT: _content(path, recording)}
        except (ValueError, FileNotFoundError) as error:
            return Tally(failed={name: str(error)})
        return sum((self._one(name, recording, made, one) for one in stretches), Tally())

    def _opened(self, path: str) -> tuple[Recording, list[Split]]:
        """A recording with all that its clips are made from, and the stretches to prepare."""
        config = self.config
        with reading(path):
            recording = open_recording(path, config.missing, config.recording)
        check_depth(config.perception, recording.has_depth, path)
        stretches = windows(
            len(recording), config.frames, config.split, config.clips_per_recording, config.stride
        )
        return recording, stretches

    def _one(self, recording_name: str, recording: Recording, of: dict, split: Split) -> Tally:
        start = min(split.target + split.history)
        name = f"{recording_name}_{start:06d}"
        path = Path(self.config.output) / name
        made = {**self._made, **of, "start": start}
        if self.config.caption.kind == "sidecar" and recording.caption(split.target) is None:
            # So that captions added later are not ignored.
            made[OWN_CAPTION] = ""
        if path.exists():
            try:
                stored = read_record(path)["made"]
            except BadClip as bad:
                return Tally(failed={name: f"{bad}; remove {path} to have it made again"})
            way_out = "give another output=, or remove it to have it made again"
            current = {key: value for key, value in made.items() if key != CONTENT or key in stored}
            check_made(path, stored, current, way_out)
            return Tally(there=1)
        remove_unfinished(path)
        try:
            with atomic_write(path) as aside:
                aside.mkdir()
                clip = self._clip(name, recording, split, made, aside / "memories")
                write_prepared(aside, clip, self.config.fps, self.config.pixels)
        except (ValueError, FileNotFoundError) as error:
            return Tally(failed={name: str(error)})
        return Tally(made=1)

    def _clip(
        self, name: str, recording: Recording, split: Split, made: dict, banks: Path
    ) -> PreparedClip:
        with reading(recording.path):
            target = recording.clip(split.target, self.config.size)
            observed = recording.clip([*split.history, split.target[0]], self.config.size)
        caption = self._caption(recording, split.target, target.frames)
        # As in generation: image-to-video starts from the first target frame, so it belongs to the
        # history, as its last frame.
        seen = self._perception(observed)
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
            # Temporary: removed once the clip is written.
            Bank(bank, packed=False),
            replace(config.memory, kind=kind),
            replace(config.retrieval, seed=_seed(config.retrieval.seed, name)),
            config.rendering,
        )
        memory.update(seen)
        return memory.retrieve(target.cameras)


def _content(path: str, recording: Recording) -> str:
    """A digest of the recording's files; for a procedural room, its description."""
    return digest(path) if path.split(":")[0] == PREFIX else content_of(recording, captioned=False)


def _identity(recording: Recording) -> str:
    """A digest of the recording's frame names and cameras, independent of its location."""
    checksum = hashlib.sha256("\n".join(recording.names).encode())
    for part in (recording.cameras.c2w, recording.cameras.K):
        checksum.update(part.contiguous().numpy().tobytes())
    if any(recording.cameras.origin):
        checksum.update(repr(recording.cameras.origin).encode())
    return checksum.hexdigest()[:16]


def _seed(seed: int, clip: str) -> int:
    """A separate seed for every clip, independent of the process that makes it."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{clip}".encode()).digest()[:4], "big")


COMMAND = Command(main, PrepareConfig, DEFAULT)

if __name__ == "__main__":
    COMMAND.run()

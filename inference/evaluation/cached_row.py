"""The cached videos of one row, and the evaluation targets of its clips.

    ROW/row.json                 what it was made with, its clips and seeds, the command, and each
                                 clip's recording
    ROW/config.yaml              the complete config of the command
    ROW/CLIP/given.npz           truth, anchors, cameras, pixel masks; `report` as JSON text
    ROW/CLIP/sample_SEED.npz     the video of one seed; `report` of a closed loop as JSON text

Colours are 8 bits, lossless. Files appear only when complete. Videos and targets carry a
fingerprint of what the row was made with at the time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.config import save_config
from anchorweave.datasets.fingerprint import FingerprintError, differences, digest, flat
from anchorweave.eight_bit import to_bytes
from anchorweave.file_sets import finish_set, written_together
from anchorweave.files import atomic_write, write_json
from anchorweave.geometry.cameras import Cameras
from inference.evaluation.clip_names import refuse_unprintable
from inference.runs.made import changed

# Checksum over all other content of row.json.
OWN_SUM = "sum"
ROW, CONFIG, GIVEN = "row.json", "config.yaml", "given.npz"
WAY_OUT = (
    "restore the file that belongs to the videos, or remove the row's folder and regenerate it"
)


@dataclass(frozen=True)
class EvaluationTarget:
    """What a clip's videos are measured against.

    Args:
        truth: the true frames [T, 3, H, W] in [0, 1]; None if unknown.
        anchors: the composite of what the row's memory shows; None in a closed loop, where every
            sample has its own memories.
        shown: the pixels that it shows.
        only_memory: the pixels that some frame of the history shows but not the first frame; the
            same for all rows.
        seconds: duration of retrieval.
        cameras: the requested cameras of the video [T]; None in rows of earlier versions, which did
            not store them.
        unit: length of one scene unit in the unit of `cameras`.
    """

    truth: Float[Tensor, "T 3 H W"] | None
    anchors: Float[Tensor, "T 3 H W"] | None
    shown: Bool[Tensor, "T H W"] | None
    only_memory: Bool[Tensor, "T H W"] | None
    seconds: float
    cameras: Cameras | None = None
    unit: float = 1.0


class CachedRow:
    """A row's folder.

    Args:
        path: the folder, created by `begin`.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def begin(
        self,
        made: Mapping[str, Any],
        clips: Sequence[str],
        seeds: Sequence[int],
        command: str,
        recordings: Mapping[str, str] | None = None,
        config: Any = None,
    ) -> list[str]:
        """Starts the row, or resumes it.

        Args:
            made: everything its videos depend on.
            clips: names of the clips.
            seeds: seeds of each clip's videos.
            command: the command that makes them.
            recordings: clip -> identifier of its recording; None = unknown.
            config: config of the command, stored as config.yaml; None = not stored.

        Returns:
            Notes about an existing row: settings that it is too old to state, and clips that are no
            longer requested.

        Raises:
            FingerprintError: it holds videos made with something else; the message says what.
        """
        finish_set(self.path)
        made = json.loads(json.dumps(made))
        identities, notes = dict(recordings or {}), []
        if (self.path / ROW).exists():
            before = self.record()
            differ, unstated = changed(before["made"], made)
            were = before.get("recordings", {})
            differ += [
                f"recording of clip {clip}: {were[clip]} there, {identities[clip]} now"
                for clip in clips
                if clip in identities and were.get(clip, identities[clip]) != identities[clip]
            ]
            if differ:
                raise FingerprintError(
                    f"the videos in {self.path} were made with something else than {command!r} "
                    "requests; set another row= or output=, or remove them to regenerate "
                    "them:\n  " + "\n  ".join(differ)
                )
            if unstated:
                notes.append(
                    "was started by an earlier version, which did not record "
                    f"{', '.join(sorted({key.split('.')[0] for key in unstated}))}: it is unknown "
                    "whether these are the same now"
                )
            if gone := [clip for clip in before["clips"] if clip not in clips]:
                notes.append(
                    f"had {len(gone)} clips that are no longer requested, whose videos are kept "
                    f"but not measured: {', '.join(gone)}"
                )
            # Its videos carry the fingerprint of this.
            made, identities = before["made"], {**were, **identities}
        values = {"command": command, "clips": list(clips), "seeds": list(seeds), "made": made}
        if identities:
            values["recordings"] = identities
        names = (ROW,) if config is None else (ROW, CONFIG)
        with written_together(self.path, names) as aside:
            write_json({**values, OWN_SUM: digest(values)}, aside / ROW)
            if config is not None:
                save_config(config, aside / CONFIG)
        return notes

    def record(self) -> dict[str, Any]:
        """What `begin` wrote.

        Raises:
            FileNotFoundError: no row in the folder.
            ValueError: the file was changed since.
        """
        finish_set(self.path)
        record = self.path / ROW
        if not record.is_file():
            raise FileNotFoundError(
                f"{self.path} holds no row (no {ROW}); python -m inference.generate makes one"
            )
        try:
            values = json.loads(record.read_text())
            if not isinstance(values, dict):
                raise ValueError("it holds no keys and values")
            # Older rows have no checksum.
            if OWN_SUM in values and values.pop(OWN_SUM) != digest(values):
                raise ValueError("its checksum differs")
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{record} was changed since it was written ({error}); restore it, or remove "
                f"{self.path} to regenerate the row"
            ) from error
        refuse_unprintable(values.get("clips", ()), record)
        return values

    def check_config(self) -> None:
        """Checks that config.yaml, if present, matches what row.json says was made.

        Raises:
            FingerprintError: it does not match; the message says where.
        """
        config = self.path / CONFIG
        if not config.is_file():
            return
        made, now = self.record()["made"], flat(yaml.safe_load(config.read_text()))
        # Each has keys that the other lacks: weights here, paths there.
        shared = made.keys() & now.keys()
        if differ := differences({k: made[k] for k in shared}, {k: now[k] for k in shared}):
            raise FingerprintError(
                f"{config} ('now') does not match {ROW} next to it ('there'), which says what its "
                f"videos were made with; {WAY_OUT}:\n  " + "\n  ".join(differ)
            )

    def has_given(self, clip: str) -> bool:
        """Whether the clip's evaluation target exists."""
        return (self.path / clip / GIVEN).is_file()

    def has_sample(self, clip: str, seed: int) -> bool:
        """Whether the video exists."""
        return self._sample(clip, seed).is_file()

    def write_given(self, clip: str, given: EvaluationTarget, report: list) -> None:
        """Stores the clip's evaluation target, and why its memories were chosen."""
        arrays = {
            name: _stored(getattr(given, name))
            for name in ("truth", "anchors", "shown", "only_memory")
            if getattr(given, name) is not None
        }
        if given.cameras is not None:
            c2w, K = given.cameras.c2w.numpy(), given.cameras.K.numpy()
            arrays |= {"c2w": c2w, "K": K, "size": given.cameras.size, "unit": given.unit}
            arrays["origin"] = given.cameras.origin
        report_text = np.array(json.dumps(report))
        about = {"seconds": given.seconds, "report": report_text}
        _write(self.path / clip / GIVEN, **arrays, **about, made=np.array(self._fingerprint(clip)))

    def read_given(self, clip: str) -> EvaluationTarget:
        """The clip's evaluation target.

        Raises:
            FingerprintError: it was made with other settings, or from another recording.
            ValueError: an unreadable file; the message names it.
        """
        path = self.path / clip / GIVEN
        with _opened(path) as file:
            self._refuse_other(path, file, self._fingerprint(clip))
            arrays = [
                _to_unit(file[name]) if name in file else None
                for name in ("truth", "anchors", "shown", "only_memory")
            ]
            cameras, unit = None, 1.0
            if "c2w" in file:
                c2w, K = (torch.from_numpy(file[name]) for name in ("c2w", "K"))
                height, width = file["size"].tolist()
                x, y, z = file["origin"].tolist() if "origin" in file else (0.0, 0.0, 0.0)
                cameras = Cameras(c2w, K, (height, width), (x, y, z))
                unit = float(file["unit"])
            return EvaluationTarget(*arrays, float(file["seconds"]), cameras, unit)

    def write_sample(
        self, clip: str, seed: int, video: Tensor, seconds: float, report: Sequence = ()
    ) -> None:
        """Stores a video [T, 3, H, W] in [0, 1] and how long it took to make."""
        values = {
            "seconds": seconds,
            "report": np.array(json.dumps(list(report))),
            "made": np.array(self._fingerprint()),
        }
        _write(self._sample(clip, seed), video=_stored(video), **values)

    def read_sample(self, clip: str, seed: int) -> tuple[Float[Tensor, "T 3 H W"], float]:
        """The video in [0, 1], and the seconds it took.

        Raises:
            FingerprintError: it was made with other settings of the row.
            ValueError: an unreadable file; the message names it.
        """
        path = self._sample(clip, seed)
        with _opened(path) as file:
            self._refuse_other(path, file, self._fingerprint())
            return _to_unit(file["video"]), float(file["seconds"])

    def _refuse_other(self, path: Path, file: Mapping[str, Any], fingerprint: str) -> None:
        # Files of earlier versions carry no fingerprint.
        if "made" in file and str(file["made"]) != fingerprint:
            raise FingerprintError(f"{path} does not match {self.path / ROW}; {WAY_OUT}")

    def _fingerprint(self, clip: str | None = None) -> str:
        """Fingerprint of the row; for a clip, including its recording."""
        record = self.record()
        if clip is None:
            return digest(record["made"])
        return digest([record["made"], record.get("recordings", {}).get(clip)])

    def _sample(self, clip: str, seed: int) -> Path:
        return self.path / clip / f"sample_{seed:04d}.npz"


def _write(path: Path, **arrays: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as aside:
        np.savez_compressed(aside, **arrays)


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    try:
        with np.load(path) as file:
            yield file
    except FingerprintError:
        raise
    # On damaged files numpy may raise anything, including tokenize.TokenError.
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read ({error or type(error).__name__}); remove it and run "
            "inference.generate again, which regenerates it"
        ) from error


def _stored(values: Tensor) -> np.ndarray:
    if values.dtype == torch.bool:
        return values.numpy()
    if not values.isfinite().all():
        raise ValueError("a video with values that are not finite; use model.dtype=float32")
    return to_bytes(values).numpy()


def _to_unit(values: np.ndarray) -> Tensor:
    levels = torch.from_numpy(values)
    return levels if levels.dtype == torch.bool else levels.float() / 255

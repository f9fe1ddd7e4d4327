"""The videos of one row on disk, and beside each clip what it is measured by.

    ROW/row.json                 what it was made with, its clips and seeds, the command
    ROW/CLIP/given.npz           truth, anchors, and masks of pixels; `report` as JSON text
    ROW/CLIP/sample_SEED.npz     the video of one seed; `report` of a closed loop as JSON text

Colours are 8 bits, without loss. A file is there when it is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.datasets.fingerprint import FingerprintError, differences
from anchorweave.files import written_aside
from inference.report import write_json

ROW, GIVEN = "row.json", "given.npz"


@dataclass(frozen=True)
class Given:
    """What a clip is measured by.

    Args:
        truth: the true frames [T, 3, H, W] in [0, 1]; None where they are not known.
        anchors: the composite of what the row's memory shows; None in a closed loop, where every
            sample has memories of its own.
        shown: the pixels that it shows.
        only_memory: the pixels that some frame of the history shows and the first frame does not,
            the same for all rows.
        seconds: that retrieval took.
    """

    truth: Float[Tensor, "T 3 H W"] | None
    anchors: Float[Tensor, "T 3 H W"] | None
    shown: Bool[Tensor, "T H W"] | None
    only_memory: Bool[Tensor, "T H W"] | None
    seconds: float


class CachedRow:
    """A row's folder.

    Args:
        path: the folder, which `begin` makes.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def begin(
        self, made: Mapping[str, Any], clips: Sequence[str], seeds: Sequence[int], command: str
    ) -> None:
        """Begin the row, or go on with it.

        Raises:
            FingerprintError: it holds videos that were made with something else, and with what.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        record = self.path / ROW
        made = json.loads(json.dumps(made))
        if record.exists() and (changed := differences(self.record()["made"], made)):
            raise FingerprintError(
                f"the videos in {self.path} were made with something else than {command!r} asks "
                "for; give another row= or output=, or remove them to have them made again:\n  "
                + "\n  ".join(changed)
            )
        values = {"command": command, "clips": list(clips), "seeds": list(seeds), "made": made}
        write_json(values, record)

    def record(self) -> dict[str, Any]:
        """What `begin` wrote.

        Raises:
            FileNotFoundError: no row in the folder.
        """
        record = self.path / ROW
        if not record.is_file():
            raise FileNotFoundError(
                f"{self.path} holds no row (no {ROW}); python -m inference.generate makes one"
            )
        return json.loads(record.read_text())

    def has_given(self, clip: str) -> bool:
        """Whether what the clip is measured by is there."""
        return (self.path / clip / GIVEN).is_file()

    def has_sample(self, clip: str, seed: int) -> bool:
        """Whether the video is there."""
        return self._sample(clip, seed).is_file()

    def write_given(self, clip: str, given: Given, report: list) -> None:
        """Keep what the clip is measured by, and why its memories were chosen."""
        arrays = {
            name: _to_bytes(getattr(given, name))
            for name in ("truth", "anchors", "shown", "only_memory")
            if getattr(given, name) is not None
        }
        report_text = np.array(json.dumps(report))
        _write(self.path / clip / GIVEN, **arrays, seconds=given.seconds, report=report_text)

    def read_given(self, clip: str) -> Given:
        """What the clip is measured by."""
        with np.load(self.path / clip / GIVEN) as file:
            arrays = [
                _to_unit(file[name]) if name in file else None
                for name in ("truth", "anchors", "shown", "only_memory")
            ]
            return Given(*arrays, seconds=float(file["seconds"]))

    def write_sample(
        self, clip: str, seed: int, video: Tensor, seconds: float, report: Sequence = ()
    ) -> None:
        """Keep a video [T, 3, H, W] in [0, 1] and how long it took to make."""
        report_text = np.array(json.dumps(list(report)))
        path = self._sample(clip, seed)
        _write(path, video=_to_bytes(video), seconds=seconds, report=report_text)

    def read_sample(self, clip: str, seed: int) -> tuple[Float[Tensor, "T 3 H W"], float]:
        """The video in [0, 1], and the seconds it took."""
        with np.load(self._sample(clip, seed)) as file:
            return _to_unit(file["video"]), float(file["seconds"])

    def _sample(self, clip: str, seed: int) -> Path:
        return self.path / clip / f"sample_{seed:04d}.npz"


def _write(path: Path, **arrays: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        np.savez_compressed(aside, **arrays)


def _to_bytes(values: Tensor) -> np.ndarray:
    if values.dtype == torch.bool:
        return values.numpy()
    if not values.isfinite().all():
        raise ValueError("a video with values that are not finite; use model.dtype=float32")
    return (values.clamp(0, 1) * 255).round().byte().numpy()


def _to_unit(values: np.ndarray) -> Tensor:
    given = torch.from_numpy(values)
    return given if given.dtype == torch.bool else given.float() / 255

"""Checkpoints: written atomically, and verified before use.

    checkpoints/best.json                     which one has the lowest validation loss
    checkpoints/given-up-step-00001000/       of an abandoned branch, until the run has reached the
                                              same step again
    checkpoints/step-00000500/
        controller/ controller_ema/           as diffusers lays them out (`model.controller=...`)
        backbone_lora/ transformer/ ...       where those are trained
        optimizer.safetensors                 (or deepspeed/, which DeepSpeed writes itself)
        progress.json                         steps done, guard, steps of the EMA
        config.yaml
        manifest.json                         every file's size and CRC-32; written last. Also the
                                              validation loss, if it was the lowest so far

All randomness is a function of the step, so there is no random state to save, and a run may be
resumed with another number of ranks or another strategy (except DeepSpeed).
"""

from __future__ import annotations

import json
import math
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from anchorweave.files import atomic_write

MANIFEST = "manifest.json"
STEP, GIVEN_UP = "step-*", "given-up-"
PROGRESS = "progress.json"
CONFIG = "config.yaml"
BEST = "best.json"
CHUNK = 1 << 24


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they are stored.
        keep: how many of the newest to keep.
        accelerator: used by ranks to agree; the first one writes.
    """

    def __init__(self, folder: Path, keep: int, accelerator: Accelerator):
        self.folder, self.keep, self.accelerator = folder, keep, accelerator

    def path(self, step: int) -> Path:
        """Path of the checkpoint after `step` steps."""
        return self.folder / f"step-{step:08d}"

    def all(self) -> list[Path]:
        """All checkpoints, complete or damaged, oldest first."""
        return sorted(self.folder.glob(STEP))

    def save(
        self,
        step: int,
        write: Callable[[Path], None],
        shared: Callable[[Path], None] | None = None,
        best: float | None = None,
    ) -> Path:
        """Writes a checkpoint; every rank must call this at the same time.

        Args:
            step: steps done.
            write: fills a folder; called on the first rank only.
            shared: likewise, called before on every rank.
            best: the validation loss, if it is the lowest so far.

        Raises:
            OSError: it could not be written completely, on every rank; earlier ones are unchanged.
        """
        path = self.path(step)
        aside = self.folder / f".partial-{path.name}"
        self._on_first(lambda: self._make_room(aside))
        if shared is not None:
            shared(aside)
            self.accelerator.wait_for_everyone()
        self._on_first(lambda: self._finish(aside, path, step, write, best))
        return path

    def newest(self) -> tuple[Path | None, list[str]]:
        """The newest complete one, if any, and a message for each newer damaged one.

        Raises:
            ValueError: there are some, but all are damaged.
        """
        passed_over = []
        for path in reversed(self.all()):
            problem = damage(path)
            if problem is None:
                return path, passed_over
            passed_over.append(f"{path} is damaged ({problem}); skipped")
        if passed_over:
            raise ValueError(
                "no checkpoint to resume from: "
                + "; ".join(passed_over)
                + f". Remove {self.folder} to start from scratch"
            )
        return None, []

    def best(self) -> float:
        """The lowest validation loss of the existing checkpoints; infinite if there is none."""
        return self._best()[1]

    def set_aside_after(self, path: Path) -> list[str]:
        """Renames those newer than `path`, from which a run resumes; returns a line for each.

        They belong to an abandoned branch: the newest one must belong to the current one.
        """
        lines = []
        for later in self.all():
            if later.name > path.name:
                renamed = later.with_name(GIVEN_UP + later.name)
                shutil.rmtree(renamed, ignore_errors=True)
                later.rename(renamed)
                lines.append(f"{later} is newer than {path.name}; set aside as {renamed.name}")
        return lines

    def _best(self) -> tuple[str | None, float]:
        """Name and loss of the best one."""
        path = self.folder / BEST
        none = None, math.inf
        if not path.is_file():
            return none
        try:
            record = json.loads(path.read_text())
            name, loss = record["checkpoint"], float(record["loss"])
            if not math.isfinite(loss):
                raise ValueError(f"a loss of {loss}")
            if (self.folder / name).is_dir() and loss != (
                stated := _manifest_loss(self.folder / name)
            ):
                raise ValueError(f"a loss of {loss}, of which {name} says {stated}")
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            # The file only repeats what the checkpoints themselves state.
            losses = [(path.name, _stated_loss(path)) for path in self.all()]
            name, loss = min(losses, key=lambda pair: pair[1], default=none)
            instead = f"by the checkpoints themselves it is {name} (loss {loss:.4g})"
            if not math.isfinite(loss):
                name, instead = None, "no existing checkpoint has a validation loss"
            print(f"{path} cannot be read ({error!r}); {instead}", flush=True)
        return (name, loss) if name and (self.folder / name).is_dir() else none

    def _make_room(self, aside: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Partial checkpoints of an earlier run that was killed.
        for left in self.folder.glob(".partial-*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        aside.mkdir()

    def _finish(
        self, aside: Path, path: Path, step: int, write: Callable, best: float | None
    ) -> None:
        try:
            write(aside)
            write_manifest(aside, step, best)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        if path.exists():
            # Of the same step, written before this run returned to an earlier one.
            shutil.rmtree(path)
        os.replace(aside, path)
        if best is not None:
            with atomic_write(self.folder / BEST) as record:
                record.write_text(json.dumps({"checkpoint": path.name, "loss": best}) + "\n")
        retained = {*(checkpoint.name for checkpoint in self.all()[-self.keep :]), self._best()[0]}
        retained.add(path.name)
        for old in self.all():
            if old.name not in retained:
                shutil.rmtree(old)
        for old in self.folder.glob(GIVEN_UP + STEP):
            if old.name.removeprefix(GIVEN_UP) <= path.name:
                shutil.rmtree(old)

    def _on_first(self, act: Callable[[], None]) -> None:
        """Runs it on the first rank; if it fails, every rank is told instead of waiting."""
        failed: list[str | None] = [None]
        if self.accelerator.is_main_process:
            # For any error (safetensors has its own for a full disk), all ranks end.
            try:
                act()
            except Exception as error:
                failed = [f"{type(error).__name__}: {error}"]
        broadcast_object_list(failed)
        if failed[0] is not None:
            raise OSError(
                f"a checkpoint could not be written to {self.folder} ({failed[0]}); earlier ones "
                "are unchanged. Free disk space and start again with resume=latest"
            )


def write_manifest(folder: Path, step: int, best: float | None = None) -> None:
    """Writes the last file of a checkpoint, which describes all others.

    Args:
        folder: the checkpoint.
        step: steps done.
        best: its validation loss, if it is the lowest so far.
    """
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        files[str(path.relative_to(folder))] = [path.stat().st_size, _checksum(path, sync=True)]
    stated = {"step": step, "files": files} | ({} if best is None else {"validation_loss": best})
    text = json.dumps({**stated, "crc32": _own_sum(stated)}, indent=1) + "\n"
    with atomic_write(folder / MANIFEST) as aside:
        aside.write_text(text)


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, as text; None if every file is as it was written."""
    path = folder / MANIFEST
    if not path.is_file():
        return f"{MANIFEST} is missing: it was never finished"
    try:
        stated = _read(path)
        if "crc32" in stated and stated.pop("crc32") != _own_sum(stated):
            return f"{MANIFEST} is corrupt (its checksum differs)"
        files = {name: (size, sum_) for name, (size, sum_) in stated["files"].items()}
    # Any of its bytes may be corrupt.
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        return f"{MANIFEST} cannot be read ({error})"
    if PROGRESS not in files:
        return f"{MANIFEST} does not list {PROGRESS}"
    for name, (size, checksum) in files.items():
        file = folder / name
        try:
            if not file.is_file():
                return f"{name} is missing"
            if (actual := file.stat().st_size) != size:
                return f"{name} has {actual} bytes instead of {size}"
            if _checksum(file) != checksum:
                return f"{name} is corrupt (its checksum differs)"
        except (OSError, ValueError) as error:
            return f"{name!r} cannot be read ({error})"
    return None


def _own_sum(stated: dict) -> int:
    """Checksum of everything else in a manifest."""
    return zlib.crc32(json.dumps(stated).encode())


def _read(path: Path) -> dict:
    return json.loads(path.read_text())


def _stated_loss(folder: Path) -> float:
    """The validation loss stated by a checkpoint; infinite if it states none."""
    return math.inf if damage(folder) is not None else _manifest_loss(folder)


def _manifest_loss(folder: Path) -> float:
    return float(_read(folder / MANIFEST).get("validation_loss", math.inf))


def _checksum(path: Path, sync: bool = False) -> int:
    checksum = 0
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        while chunk := file.read(CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum

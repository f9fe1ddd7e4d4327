"""Checkpoints: written aside, complete or not there, checked before they are trusted.

    checkpoints/best.json                     which one has the lowest validation loss
    checkpoints/given-up-step-00001000/       of a branch that was given up, until the run has come
                                              as far again
    checkpoints/step-00000500/
        controller/ controller_ema/           as diffusers lays them out (`model.controller=...`)
        backbone_lora/ transformer/ ...       where those are trained
        optimizer.safetensors                 (or deepspeed/, which DeepSpeed writes itself)
        progress.json                         steps done, guard, steps of the running average
        config.yaml
        manifest.json                         every file's size and CRC-32; written last. Also the
                                              validation loss, where it was the lowest so far

Everything random is a function of the step, so there is no random state to keep, and a run may go
on with another number of ranks or another strategy (DeepSpeed apart).
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
        folder: where they lie.
        keep: how many of the newest stay.
        accelerator: ranks agree through it; the first one writes.
    """

    def __init__(self, folder: Path, keep: int, accelerator: Accelerator):
        self.folder, self.keep, self.accelerator = folder, keep, accelerator

    def path(self, step: int) -> Path:
        """Where the checkpoint after `step` steps lies."""
        return self.folder / f"step-{step:08d}"

    def all(self) -> list[Path]:
        """Every one, complete or damaged, oldest first."""
        return sorted(self.folder.glob(STEP))

    def save(
        self,
        step: int,
        write: Callable[[Path], None],
        shared: Callable[[Path], None] | None = None,
        best: float | None = None,
    ) -> Path:
        """Write one; every rank calls this at once.

        Args:
            step: steps done.
            write: fills a folder; called on the first rank only.
            shared: likewise, called on every rank, before.
            best: the validation loss, where it is the lowest so far.

        Raises:
            OSError: it could not be written whole, on every rank; earlier ones are as they were.
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
        """The newest complete one, if any, and a message for each damaged one that is newer.

        Raises:
            ValueError: there are some, and all are damaged.
        """
        passed_over = []
        for path in reversed(self.all()):
            problem = damage(path)
            if problem is None:
                return path, passed_over
            passed_over.append(f"{path} is damaged ({problem}); passed over")
        if passed_over:
            raise ValueError(
                "no checkpoint to go on from: "
                + "; ".join(passed_over)
                + f". Remove {self.folder} to start anew"
            )
        return None, []

    def best(self) -> float:
        """The lowest validation loss of a checkpoint that is there; infinite where none is."""
        return self._best()[1]

    def set_aside_after(self, path: Path) -> list[str]:
        """Renames those newer than `path`, from which a run goes on; a line for each.

        They are of a branch that was given up: the newest one must be of the branch that is not.
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
            known = json.loads(path.read_text())
            name, loss = known["checkpoint"], float(known["loss"])
            if not math.isfinite(loss):
                raise ValueError(f"a loss of {loss}")
            if (self.folder / name).is_dir() and loss != (
                stated := _manifest_loss(self.folder / name)
            ):
                raise ValueError(f"a loss of {loss}, of which {name} says {stated}")
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            # It repeats what the checkpoints say of themselves.
            found = [(path.name, _stated_loss(path)) for path in self.all()]
            name, loss = min(found, key=lambda pair: pair[1], default=none)
            instead = f"by the checkpoints themselves it is {name} (loss {loss:.4g})"
            if not math.isfinite(loss):
                name, instead = None, "no checkpoint that is there was measured"
            print(f"{path} cannot be read ({error!r}); {instead}", flush=True)
        return (name, loss) if name and (self.folder / name).is_dir() else none

    def _make_room(self, aside: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # What an earlier run was writing when it was killed.
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
            # Of the same step, from before this run went back to an earlier one.
            shutil.rmtree(path)
        os.replace(aside, path)
        if best is not None:
            with atomic_write(self.folder / BEST) as record:
                record.write_text(json.dumps({"checkpoint": path.name, "loss": best}) + "\n")
        kept = {*(one.name for one in self.all()[-self.keep :]), self._best()[0]}
        kept.add(path.name)
        for old in self.all():
            if old.name not in kept:
                shutil.rmtree(old)
        for old in self.folder.glob(GIVEN_UP + STEP):
            if old.name.removeprefix(GIVEN_UP) <= path.name:
                shutil.rmtree(old)

    def _on_first(self, act: Callable[[], None]) -> None:
        """Does it on the first rank; where that fails, every rank knows instead of waiting."""
        failed: list[str | None] = [None]
        if self.accelerator.is_main_process:
            # Whatever it was (safetensors has errors of its own for a full disk), all ranks end.
            try:
                act()
            except Exception as error:
                failed = [f"{type(error).__name__}: {error}"]
        broadcast_object_list(failed)
        if failed[0] is not None:
            raise OSError(
                f"a checkpoint could not be written to {self.folder} ({failed[0]}); earlier ones "
                "are untouched. Make room and start again with resume=latest"
            )


def write_manifest(folder: Path, step: int, best: float | None = None) -> None:
    """The last file of a checkpoint: what every other one must be.

    Args:
        folder: the checkpoint.
        step: steps done.
        best: its validation loss, where it is the lowest so far.
    """
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        files[str(path.relative_to(folder))] = [path.stat().st_size, _checksum(path, sync=True)]
    stated = {"step": step, "files": files} | ({} if best is None else {"validation_loss": best})
    text = json.dumps({**stated, "crc32": _own_sum(stated)}, indent=1) + "\n"
    with atomic_write(folder / MANIFEST) as aside:
        aside.write_text(text)


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, in words; None where every file is as it was written."""
    path = folder / MANIFEST
    if not path.is_file():
        return f"{MANIFEST} is missing: it was never finished"
    try:
        stated = _read(path)
        if "crc32" in stated and stated.pop("crc32") != _own_sum(stated):
            return f"{MANIFEST} is not what was written (its checksum differs)"
        files = {name: (size, sum_) for name, (size, sum_) in stated["files"].items()}
    # Any byte of it may be another than was written.
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        return f"{MANIFEST} cannot be read ({error})"
    if PROGRESS not in files:
        return f"{MANIFEST} does not list {PROGRESS}"
    for name, (size, checksum) in files.items():
        file = folder / name
        try:
            if not file.is_file():
                return f"{name} is missing"
            if (met := file.stat().st_size) != size:
                return f"{name} has {met} bytes of {size}"
            if _checksum(file) != checksum:
                return f"{name} is not what was written (its checksum differs)"
        except (OSError, ValueError) as error:
            return f"{name!r} cannot be read ({error})"
    return None


def _own_sum(stated: dict) -> int:
    """Of all else that a manifest states."""
    return zlib.crc32(json.dumps(stated).encode())


def _read(path: Path) -> dict:
    return json.loads(path.read_text())


def _stated_loss(folder: Path) -> float:
    """The validation loss that a checkpoint says it has; infinite where it says nothing."""
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

"""Cameras of footage, by structure from motion (COLMAP, by pycolmap) on the CPU.

Keyframes are chosen at an even share of motion, matched with their neighbours and with what looks
alike, and reconstructed; frames between are registered against them. What comes out is a COLMAP
project, which `open_recording` and other tools open: images/, sparse/0/ and reconstruction.json.

The scale of a reconstruction is any; it is set so that the median point lies 3 units in front of
the cameras, and the first camera is the origin. The same frames give the same cameras.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib.util import find_spec
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from torch.nn.functional import interpolate

from anchorweave.files import atomic_write
from anchorweave.images import read_frame, write_frame
from anchorweave.locks import making
from anchorweave.progress import progress
from anchorweave.recordings.config import RecordingConfig
from anchorweave.recordings.reconstruction.config import ReconstructionConfig
from anchorweave.recordings.reconstruction.footage import Footage, open_footage
from anchorweave.recordings.reconstruction.keyframes import Motion, choose_keyframes
from anchorweave.recordings.reconstruction.report import ReconstructionReport, refusal

WORKER = Path(__file__).with_name("worker.py")
REPORT = "reconstruction.json"
# Frames whose longer side has fewer pixels are enlarged for the search of features.
SMALLEST = 384
# Of what the worker said when it failed.
SHOWN_LINES = 5
LENSES = {"none": "SIMPLE_PINHOLE", "simple_radial": "SIMPLE_RADIAL", "opencv": "OPENCV"}


def reconstruct(
    source: Path, output: Path, config: ReconstructionConfig, known: RecordingConfig
) -> ReconstructionReport:
    """Find the cameras of footage, and write it as a recording.

    Args:
        source: a video file or a folder of photographs.
        output: a folder that does not exist yet.
        config: how.
        known: of which `intrinsics` (in pixels of the footage, kept as they are) or
            `field_of_view` (a start) are used.

    Raises:
        FileExistsError: `output` exists.
        FileNotFoundError: nothing at `source`.
        FolderInUseError: another run makes `output`.
        NotReconstructedError: too few frames could be registered.
        ValueError: no pycolmap, or footage that cannot be used.
    """
    if output.exists():
        raise FileExistsError(f"{output}: exists; remove it or choose another folder")
    if find_spec("pycolmap") is None:
        raise ValueError(
            "cameras of plain footage are found by pycolmap, which is not there; "
            "pip install -r requirements.txt"
        )
    known.refused(source, "depth_scale", why="plain footage holds no depth")
    footage = open_footage(source, config.fps)
    with (
        making(output),
        atomic_write(output) as aside,
        tempfile.TemporaryDirectory() as name,
    ):
        place = Path(name)
        (aside / "images").mkdir(parents=True)
        names, size, motion = _write_frames(footage, config.longer_side, aside / "images")
        keys = choose_keyframes(motion.shifts, motion.sharpness, config.motion, config.keyframes)
        # COLMAP's lists of pairs do not stand spaces, which names of photographs have.
        plain = [f"{i:06d}.jpg" for i in range(len(names))]
        seen = _seen([aside / "images" / name for name in names], place / "seen", plain, size)
        kept = set(keys)
        # The lists of names take the place of the options that are called so.
        options = {
            **asdict(config),
            "order": plain,
            "names": names,
            "keyframes": [plain[i] for i in keys],
            "threads": os.cpu_count() or 1,
            "side": max(seen),
            "middle": [seen[1] / 2, seen[0] / 2],
            "size": size,
            "mode": config.between,
            "between": [name for i, name in enumerate(plain) if i not in kept],
            **_camera(footage, config, known, seen),
        }
        found = _run(place, options)
        registered = found.get("registered", [])
        expected = keys if config.between == "drop" else names
        if len(registered) < config.min_registered * len(expected):
            raise refusal(
                source,
                found,
                len(registered),
                len(expected),
                config.min_registered,
                motion.sharpness.tolist(),
            )
        (aside / "sparse").mkdir()
        shutil.move(place / "sparse" / "0", aside / "sparse" / "0")
        left_out = [name for name in names if name not in set(registered)]
        for one in left_out:
            (aside / "images" / one).unlink()
        report = ReconstructionReport(
            frames=len(names),
            keyframes=len(keys),
            registered=len(registered),
            points=found["points"],
            error=found["error"],
            parallax=found["parallax"],
            camera=(found["camera"][0], list(found["camera"][1])),
            unregistered=tuple(left_out),
        )
        told = {"source": str(source), "options": asdict(config), **asdict(report)}
        (aside / REPORT).write_text(json.dumps(told, indent=1))
    return report


def _write_frames(
    footage: Footage, longer_side: int, folder: Path
) -> tuple[list[str], tuple[int, int], Motion]:
    """Write all frames as JPEG, and measure image motion."""
    names, motion, size = [], Motion(), footage.size
    frames = progress(footage.frames(longer_side), "reading frames", len(footage))
    for name, frame in zip(footage.names, frames, strict=True):
        motion.see(frame)
        size = tuple(frame.shape[1:])
        names.append(f"{name}.jpg")
        write_frame(frame, folder / names[-1])
    if len(set(names)) < len(names):
        raise ValueError(f"{footage.path}: holds two images of one name with other suffixes")
    return names, size, motion


def _seen(
    images: list[Path], folder: Path, names: list[str], size: tuple[int, int]
) -> tuple[int, int]:
    """Images as features are sought in them, under plain names, enlarged where they are small."""
    folder.mkdir()
    scale = SMALLEST / max(size)
    larger = (round(size[0] * scale), round(size[1] * scale))
    for file, name in zip(images, names, strict=True):
        if scale <= 1:
            (folder / name).symlink_to(file.resolve())
            continue
        frame = interpolate(read_frame(file)[None], larger, mode="bicubic")[0]
        write_frame(frame.clamp(0, 1), folder / name)
    return size if scale <= 1 else larger


def _camera(
    footage: Footage, config: ReconstructionConfig, known: RecordingConfig, seen: tuple[int, int]
) -> dict[str, Any]:
    """COLMAP's model of the camera and what is known of it, in pixels of the images seen."""
    scale = [seen[1] / footage.size[1], seen[0] / footage.size[0]]
    if known.intrinsics is not None:
        values = [v * scale[i % 2] for i, v in enumerate(known.intrinsics)]
        return {"camera_model": "PINHOLE", "camera_params": _listed(values), "fixed": True}
    focal = known.focal_of((footage.size[0], footage.size[1]))
    if focal is None and (share := footage.focal_share()) is not None:
        focal = share * max(footage.size)
    told = {"camera_model": LENSES[config.lens], "camera_params": "", "fixed": False}
    if focal is not None:
        f, middle = focal * scale[0], [seen[1] / 2, seen[0] / 2]
        lens = {"none": [f, *middle], "simple_radial": [f, *middle, 0.0]}
        told["camera_params"] = _listed(lens.get(config.lens, [f, f, *middle, 0.0, 0.0, 0.0, 0.0]))
    return told


def _listed(values: list[float]) -> str:
    return ",".join(repr(float(value)) for value in values)


def _run(place: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Run the worker, report its progress, and read its results."""
    (place / "options.json").write_text(json.dumps(options))
    command = [sys.executable, str(WORKER), str(place)]
    with (place / "errors.txt").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            for stage, steps in groupby(_steps(process.stdout), key=lambda step: step[0]):
                first = next(steps)
                for _ in progress(_counted(chain([first], steps)), stage, first[2]):
                    pass
        except BaseException:
            process.terminate()
            raise
    if process.wait():
        last_lines = (place / "errors.txt").read_text().strip().splitlines()[-SHOWN_LINES:]
        raise RuntimeError("COLMAP ended with an error:\n" + "\n".join(last_lines))
    return json.loads((place / "found.json").read_text())


def _steps(lines: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    """The worker's lines `STAGE DONE TOTAL`; anything else that COLMAP prints is passed over."""
    for line in lines:
        if len(words := line.split()) >= 3 and words[-2].isdecimal() and words[-1].isdecimal():
            yield " ".join(words[:-2]), int(words[-2]), int(words[-1])


def _counted(steps: Iterable[tuple[str, int, int]]) -> Iterator[int]:
    """An item for each unit of work, however many of them a line tells."""
    at = 0
    for _, done, total in steps:
        yield from range(at, min(done, total))
        at = max(at, done)

"""Cameras of footage, by structure from motion (COLMAP via pycolmap) on the CPU.

Keyframes are chosen at even steps of motion, matched with their neighbours and with similar-looking
ones, and reconstructed; frames in between are registered against them. The result is a COLMAP
project, readable by `open_recording` and other tools: images/, sparse/0/ and reconstruction.json.

The scale of a reconstruction is arbitrary; it is set such that the median point is 3 units in front
of the cameras, and the first camera is the origin. The result is deterministic.
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
# Frames with a shorter longer side are upscaled for feature extraction.
SMALLEST = 384
# Number of the worker's last output lines shown when it fails.
SHOWN_LINES = 5
LENSES = {"none": "SIMPLE_PINHOLE", "simple_radial": "SIMPLE_RADIAL", "opencv": "OPENCV"}


def reconstruct(
    source: Path, output: Path, config: ReconstructionConfig, known: RecordingConfig
) -> ReconstructionReport:
    """Estimates the cameras of footage, and writes it as a recording.

    Args:
        source: a video file or a folder of photographs.
        output: a folder that does not exist yet.
        config: options.
        known: `intrinsics` (in pixels of the footage, kept fixed) or `field_of_view` (an initial
            value) are used.

    Raises:
        FileExistsError: `output` exists.
        FileNotFoundError: nothing at `source`.
        FolderInUseError: another run is writing `output`.
        NotReconstructedError: too few frames could be registered.
        ValueError: pycolmap is missing, or unusable footage.
    """
    if output.exists():
        raise FileExistsError(f"{output}: exists; remove it or choose another folder")
    if find_spec("pycolmap") is None:
        raise ValueError(
            "cameras of plain footage are estimated with pycolmap, which is not installed; "
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
        # COLMAP's pair lists do not allow spaces, which photographs' names may have.
        plain = [f"{i:06d}.jpg" for i in range(len(names))]
        seen = _seen([aside / "images" / name for name in names], place / "seen", plain, size)
        keyframes = set(keys)
        # The lists of names replace the options of the same names.
        options = {
            **asdict(config),
            "order": plain,
            "names": names,
            "keyframes": [plain[i] for i in keys],
            "threads": _threads(),
            "side": max(seen),
            "middle": [seen[1] / 2, seen[0] / 2],
            "size": size,
            "mode": config.between,
            "between": [name for i, name in enumerate(plain) if i not in keyframes],
            **_camera(footage, config, known, seen),
        }
        results = _run(place, options)
        registered = results.get("registered", [])
        expected = keys if config.between == "drop" else names
        if len(registered) < config.min_registered * len(expected):
            raise refusal(
                source,
                results,
                len(registered),
                len(expected),
                config.min_registered,
                motion.sharpness.tolist(),
            )
        (aside / "sparse").mkdir()
        shutil.move(place / "sparse" / "0", aside / "sparse" / "0")
        left_out = [name for name in names if name not in set(registered)]
        for position in left_out:
            (aside / "images" / position).unlink()
        report = ReconstructionReport(
            frames=len(names),
            keyframes=len(keys),
            registered=len(registered),
            points=results["points"],
            error=results["error"],
            parallax=results["parallax"],
            camera=(results["camera"][0], list(results["camera"][1])),
            unregistered=tuple(left_out),
        )
        record = {**made_of(source, config, known), **asdict(report)}
        (aside / REPORT).write_text(json.dumps(record, indent=1))
    return report


def made_of(source: Path, config: ReconstructionConfig, known: RecordingConfig) -> dict[str, Any]:
    """What a reconstruction depends on, as its `reconstruction.json` records it."""
    camera = {"intrinsics": known.intrinsics, "field_of_view": known.field_of_view}
    return {"source": str(source), "options": asdict(config), "recording": camera}


def _threads() -> int:
    """This process's share of the machine's cores."""
    together = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, len(os.sched_getaffinity(0)) // together)


def _write_frames(
    footage: Footage, longer_side: int, folder: Path
) -> tuple[list[str], tuple[int, int], Motion]:
    """Writes all frames as JPEG, and measures image motion."""
    names, motion, size = [], Motion(), footage.size
    frames = progress(footage.frames(longer_side), "reading frames", len(footage))
    for name, frame in zip(footage.names, frames, strict=True):
        motion.see(frame)
        size = tuple(frame.shape[1:])
        names.append(f"{name}.jpg")
        write_frame(frame, folder / names[-1])
    if len(set(names)) < len(names):
        raise ValueError(f"{footage.path}: holds two images whose names differ only in the suffix")
    return names, size, motion


def _seen(
    images: list[Path], folder: Path, names: list[str], size: tuple[int, int]
) -> tuple[int, int]:
    """Images for feature extraction, under plain names, upscaled if small."""
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
    """COLMAP's camera model and its known parameters, in pixels of the processed images."""
    scale = [seen[1] / footage.size[1], seen[0] / footage.size[0]]
    if known.intrinsics is not None:
        values = [v * scale[i % 2] for i, v in enumerate(known.intrinsics)]
        return {"camera_model": "PINHOLE", "camera_params": _listed(values), "fixed": True}
    focal = known.focal_of((footage.size[0], footage.size[1]))
    if focal is None and (share := footage.focal_share()) is not None:
        focal = share * max(footage.size)
    options = {"camera_model": LENSES[config.lens], "camera_params": "", "fixed": False}
    if focal is not None:
        f, middle = focal * scale[0], [seen[1] / 2, seen[0] / 2]
        lens = {"none": [f, *middle], "simple_radial": [f, *middle, 0.0]}
        options["camera_params"] = _listed(
            lens.get(config.lens, [f, f, *middle, 0.0, 0.0, 0.0, 0.0])
        )
    return options


def _listed(values: list[float]) -> str:
    return ",".join(repr(float(value)) for value in values)


def _run(place: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Runs the worker, reports its progress, and reads its results."""
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
        raise RuntimeError("COLMAP failed:\n" + "\n".join(last_lines))
    return json.loads((place / "found.json").read_text())


def _steps(lines: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    """Parses the worker's lines `STAGE DONE TOTAL`; any other output of COLMAP is ignored."""
    for line in lines:
        if len(words := line.split()) >= 3 and words[-2].isdecimal() and words[-1].isdecimal():
            yield " ".join(words[:-2]), int(words[-2]), int(words[-1])


def _counted(steps: Iterable[tuple[str, int, int]]) -> Iterator[int]:
    """Yields once per unit of work, however many units a line reports."""
    at = 0
    for _, done, total in steps:
        yield from range(at, min(done, total))
        at = max(at, done)

"""Digests of weights, to check whether two files were made with the same ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from torch import nn

# This much of each file is read at evenly spaced places, so that gigabytes take only a moment.
SAMPLES, SAMPLE_BYTES = 64, 1 << 16
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".json", ".model", ".txt")


# Configuration entries that only record the writing library and the origin.
NOTES = ("transformers_version", "name_or_path", "torch_dtype", "dtype", "architectures")


def weights_digest(folder: str | Path) -> str:
    """A short hash of the weight and configuration files in a folder.

    Large files are sampled at 64 places (including their header and end) instead of read fully:
    different training changes the values everywhere.

    Raises:
        FileNotFoundError: no weights or configuration in `folder`.
    """
    return _digest(Path(folder), exact=True)


def content_digest(folder: str | Path) -> str:
    """A hash without notes (`_...`, versions), which is unchanged when a model is saved again.

    Raises:
        FileNotFoundError: no weights or configuration in `folder`.
    """
    return _digest(Path(folder), exact=False)


def _digest(folder: Path, exact: bool) -> str:
    files = sorted(p for p in folder.rglob("*") if p.suffix in WEIGHT_SUFFIXES and p.is_file())
    if not files:
        raise FileNotFoundError(
            f"{folder}: contains no weights; pretrained/README.md says which go there"
        )
    checksum = hashlib.sha256()
    for path in files:
        if not exact and path.suffix == ".json":
            checksum.update(f"{path.relative_to(folder)}\n{_without_notes(path)}\n".encode())
            continue
        size = path.stat().st_size
        checksum.update(f"{path.relative_to(folder)} {size}\n".encode())
        with path.open("rb") as file:
            if size <= SAMPLES * SAMPLE_BYTES:
                checksum.update(file.read())
                continue
            for i in range(SAMPLES):
                file.seek((size - SAMPLE_BYTES) * i // (SAMPLES - 1))
                checksum.update(file.read(SAMPLE_BYTES))
    return checksum.hexdigest()[:16]


def _without_notes(path: Path) -> str:
    values = json.loads(path.read_text())
    if isinstance(values, dict):
        settings = {k: v for k, v in values.items() if not k.startswith("_") and k not in NOTES}
        values = settings
    return json.dumps(values, sort_keys=True)


def module_digest(module: nn.Module) -> str:
    """The same for weights in memory: a hash of every tensor's name and values."""
    checksum = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        checksum.update(name.encode())
        checksum.update(tensor.float().cpu().numpy().tobytes())
    return checksum.hexdigest()[:16]

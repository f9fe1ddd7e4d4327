"""Digests of weights, to tell whether two files were made with the same ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from torch import nn

# Of each file this much is read at evenly spaced places: gigabytes of weights in a moment.
SAMPLES, SAMPLE_BYTES = 64, 1 << 16
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".json", ".model", ".txt")


# Entries of configurations that record who wrote them and where they came from.
NOTES = ("transformers_version", "name_or_path", "torch_dtype", "dtype", "architectures")


def weights_digest(folder: str | Path) -> str:
    """A short name for the weights and configuration in a folder, as its files are.

    Large files are sampled at 64 places (their header and end among them) instead of read whole:
    other training gives other numbers everywhere.

    Raises:
        FileNotFoundError: no weights or configuration in `folder`.
    """
    return _digest(Path(folder), exact=True)


def content_digest(folder: str | Path) -> str:
    """A digest without notes (`_...`, versions), which does not change when a model is saved again.

    Raises:
        FileNotFoundError: no weights or configuration in `folder`.
    """
    return _digest(Path(folder), exact=False)


def _digest(folder: Path, exact: bool) -> str:
    files = sorted(p for p in folder.rglob("*") if p.suffix in WEIGHT_SUFFIXES and p.is_file())
    if not files:
        raise FileNotFoundError(
            f"{folder}: holds no weights; pretrained/README.md says which go in"
        )
    found = hashlib.sha256()
    for path in files:
        if not exact and path.suffix == ".json":
            found.update(f"{path.relative_to(folder)}\n{_without_notes(path)}\n".encode())
            continue
        size = path.stat().st_size
        found.update(f"{path.relative_to(folder)} {size}\n".encode())
        with path.open("rb") as file:
            if size <= SAMPLES * SAMPLE_BYTES:
                found.update(file.read())
                continue
            for i in range(SAMPLES):
                file.seek((size - SAMPLE_BYTES) * i // (SAMPLES - 1))
                found.update(file.read(SAMPLE_BYTES))
    return found.hexdigest()[:16]


def _without_notes(path: Path) -> str:
    values = json.loads(path.read_text())
    if isinstance(values, dict):
        kept = {k: v for k, v in values.items() if not k.startswith("_") and k not in NOTES}
        values = kept
    return json.dumps(values, sort_keys=True)


def module_digest(module: nn.Module) -> str:
    """The same for weights in memory: of every tensor's name and values."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.float().cpu().numpy().tobytes())
    return found.hexdigest()[:16]

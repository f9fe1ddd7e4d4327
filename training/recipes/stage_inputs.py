"""The inputs of a recipe's stage: its config values, and the files that they name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anchorweave.config import yaml_layers
from anchorweave.datasets.fingerprint import digest, flat
from anchorweave.datasets.layout import CONFIG, RECORD
from anchorweave.models.digest import weights_digest

# Keys of outputs, which are not inputs.
WRITTEN = ("output", "resume")
# Files that identify folders with weights (by their weights), and recordings (by their listing).
WEIGHTS = ("model_index.json", "config.json", "scheduler_config.json", "tokenizer_config.json")
DESCRIBED = ("transforms.json",)


def config_values(words: list[str]) -> dict[str, Any]:
    """The values in a stage's YAML files, each merged over its bases, as dotted keys."""
    said: dict[str, Any] = {}
    for word in words:
        if word.startswith("config="):
            for _, values in yaml_layers(word.removeprefix("config=")):
                said |= flat(values)
    return said


def inputs(words: list[str]) -> dict[str, str]:
    """Content digests of the files and folders that a stage reads.

    Args:
        words: arguments of the stage, `a.b=c` and `config=FILE`.

    Returns:
        Digests by `key=path`. Missing files, and folders of unknown kinds, are omitted.
    """
    values = config_values(words)
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key != "config":
            values[key] = value
    digests = {}
    for key, value in values.items():
        if key.rpartition(".")[2] not in WRITTEN:
            for path in _paths(value):
                if (name := identity(Path(path))) is not None:
                    digests[f"{key}={path}"] = name
    return digests


def changed(there: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Inputs that have changed, as text."""
    return [
        f"{path} {'holds something else' if path in now else 'is gone'}"
        for path in sorted(there)
        if now.get(path) != there[path]
    ]


def identity(path: Path) -> str | None:
    """A content digest of `path` that does not change when later stages add files to it.

    For a model its weights, for a prepared data set its config and clips, for a recording its frame
    listing, for a file its bytes; None = none of these.
    """
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    if any((path / name).is_file() for name in WEIGHTS):
        return weights_digest(path)
    if (path / CONFIG).is_file():
        clips = sorted(record.parent.name for record in path.glob(f"[!.]*/{RECORD}"))
        return digest([(path / CONFIG).read_text(), clips])
    for name in DESCRIBED:
        if (path / name).is_file():
            return identity(path / name)
    return None


def _paths(value: Any) -> Iterator[str]:
    """The paths that a value may name: one, a list, or data sets with shares (`A:3 B:1`)."""
    if isinstance(value, list):
        for one in value:
            yield from _paths(one)
    elif isinstance(value, str):
        for word in value.strip("[]").replace(",", " ").split():
            name, colon, share = word.rpartition(":")
            yield name if colon and share.isdigit() else word

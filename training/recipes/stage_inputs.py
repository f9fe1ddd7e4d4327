"""Inputs of a recipe's stage: its config values, and the files that they name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anchorweave.config import yaml_layers
from anchorweave.datasets.fingerprint import digest, flat
from anchorweave.datasets.layout import CONFIG, RECORD
from anchorweave.models.digest import weights_digest

# Options with these names are outputs.
WRITTEN = ("output", "resume")
# Folders identified by their weights, and recordings described by a single file.
WEIGHTS = ("model_index.json", "config.json", "scheduler_config.json", "tokenizer_config.json")
DESCRIBED = ("transforms.json",)


def config_values(words: list[str]) -> dict[str, Any]:
    """The contents of a stage's YAML files, including their bases, as dotted keys."""
    values_by_key: dict[str, Any] = {}
    for word in words:
        if word.startswith("config="):
            for _, values in yaml_layers(word.removeprefix("config=")):
                values_by_key |= flat(values)
    return values_by_key


def inputs(words: list[str]) -> dict[str, str]:
    """Digests of the files and folders that a stage reads.

    Args:
        words: the stage's words, `a.b=c` and `config=FILE`.

    Returns:
        By `key=path`. Missing files and folders of unknown kinds are omitted.
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
        f"{path} {'has changed' if path in now else 'is gone'}"
        for path in sorted(there)
        if now.get(path) != there[path]
    ]


def identity(path: Path) -> str | None:
    """A digest of what is at `path`, unaffected by what later stages add to it.

    For a model its weights, for a prepared data set its settings and list of clips, for a
    recording the file that lists its frames, for a file its bytes; None = none of these.
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
    """The paths in a value: one, a list, or data sets with shares (`A:3 B:1`)."""
    if isinstance(value, list):
        for part in value:
            yield from _paths(part)
    elif isinstance(value, str):
        for word in value.strip("[]").replace(",", " ").split():
            name, colon, share = word.rpartition(":")
            yield name if colon and share.isdigit() else word

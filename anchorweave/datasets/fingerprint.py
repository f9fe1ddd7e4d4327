"""The settings a file was made with, so that different ones are never mixed silently."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any


class FingerprintError(ValueError):
    """An existing file was made with settings other than the requested ones."""


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Flattens a config (or any nested mapping) to dotted keys with JSON values."""
    if is_dataclass(values) and not isinstance(values, type):
        values = asdict(values)
    if isinstance(values, Mapping):
        parts = (flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in values.items())
        return {key: value for part in parts for key, value in part.items()}
    return {prefix: list(values) if isinstance(values, tuple) else values}


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Differences between stored (`there`) and current settings, one entry per key."""
    missing = "not stated"
    return [
        f"{key}: {there.get(key, missing)!r} there, {now.get(key, missing)!r} now"
        for key in sorted(there.keys() | now.keys())
        if there.get(key, missing) != now.get(key, missing)
    ]


def check_made(path: Path, there: Mapping[str, Any], now: Mapping[str, Any], way_out: str) -> None:
    """Refuses a file that was made with other settings.

    Args:
        path: the file or folder.
        there: the settings it was made with.
        now: the current settings.
        way_out: advice for the message.

    Raises:
        FingerprintError: the message lists every key that differs.
    """
    if differ := differences(there, now):
        raise FingerprintError(
            f"{path} was made with other settings than requested now; {way_out}:\n  "
            + "\n  ".join(differ)
        )


def digest(values: Any) -> str:
    """A short hash of JSON values: equal values have equal hashes."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

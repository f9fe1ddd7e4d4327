"""What a file was made with, so that two makes are never mixed without a word."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any


class FingerprintError(ValueError):
    """An existing file was made with other settings than the requested ones."""


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """A config (or any nested mapping) as one level of dotted keys with JSON values."""
    if is_dataclass(values) and not isinstance(values, type):
        values = asdict(values)
    if isinstance(values, Mapping):
        parts = (flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in values.items())
        return {key: value for part in parts for key, value in part.items()}
    return {prefix: list(values) if isinstance(values, tuple) else values}


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two makes, one entry per key, in words."""
    missing = "not stated"
    return [
        f"{key}: {there.get(key, missing)!r} there, {now.get(key, missing)!r} now"
        for key in sorted(there.keys() | now.keys())
        if there.get(key, missing) != now.get(key, missing)
    ]


def check_made(path: Path, there: Mapping[str, Any], now: Mapping[str, Any], way_out: str) -> None:
    """Refuse a file that was made with something else.

    Args:
        path: the file or folder.
        there: what it was made with.
        now: what it would be made with now.
        way_out: what to do about it.

    Raises:
        FingerprintError: names every key that differs.
    """
    if differ := differences(there, now):
        raise FingerprintError(
            f"{path} was made with something else than is asked for now; {way_out}:\n  "
            + "\n  ".join(differ)
        )


def digest(values: Any) -> str:
    """A short name for JSON values: equal values have equal names."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

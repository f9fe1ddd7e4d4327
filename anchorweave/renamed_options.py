"""Options with other names in earlier versions: rejected, with their new names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

# Old key -> new key -> its value, if the old key covered more than that.
RENAMED: dict[str, dict[str, str]] = {
    "network.path": {"model.path": ""},
    "network.controller": {
        "model.controller": "the path of a saved one",
        "model.new_controller": "random, from_backbone or none",
    },
    "network.references": {
        "model.references": "the path of a saved one",
        "model.new_references": "none, tokens or attention",
    },
    "network.backbone": {"model.train_backbone": ""},
    **{
        f"network.{name}": {f"model.{name}": ""}
        for name in (
            *("layers", "every", "heads", "fusion", "attention", "tokens", "holes", "warm_start"),
            *("train_controller", "train_references", "reference_cameras", "reference_interval"),
            *("reference_heads", "lora_rank", "lora_alpha", "gradient_checkpointing"),
        )
    },
    "model": {"model.path": ""},
    "backbone": {"family": ""},
    "memory": {"memory.path": ""},
    "depth_edge": {"memory.depth_edge": ""},
}


class RenamedOptionError(ValueError):
    """An option with its name from an earlier version."""


def refuse_renamed(schema: type, origin: str, values: Mapping[str, Any]) -> None:
    """Rejects keys of earlier versions that `schema` has under another name.

    Args:
        schema: the dataclass that `values` are for.
        origin: their source, for the message.
        values: nested by key.

    Raises:
        RenamedOptionError: names every such key and its new name.
    """
    lines = []
    for old, new in RENAMED.items():
        there, value = _look_up(values, old)
        if not there or _takes(schema, old, value):
            continue
        if any(_takes(schema, key, None) for key in new):
            told = (f"{key} ({takes})" if takes else key for key, takes in new.items())
            lines.append(f"{old} is now {' or '.join(told)}")
    if lines:
        raise RenamedOptionError(f"{origin}: {'; '.join(lines)}")


def _look_up(values: Mapping[str, Any], key: str) -> tuple[bool, Any]:
    """Whether a dotted key has a value, and the value."""
    value: Any = values
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False, None
        value = value[part]
    return True, value


def _takes(schema: type, key: str, value: Any) -> bool:
    """Whether there is an option of that dotted key, and `value` is none that no section takes."""
    kind: Any = schema
    for part in key.split("."):
        kind = get_type_hints(kind).get(part) if is_dataclass(kind) else None
        if kind is None:
            return False
    section = is_dataclass(kind) and not any(field.name == "kind" for field in fields(kind))
    return not section or isinstance(value, Mapping)

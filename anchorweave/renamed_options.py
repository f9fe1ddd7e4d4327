"""Options that were renamed: refused, with their new names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

# Old key -> new key -> the values that the new one accepts, if the old one accepted more.
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
}


class RenamedOptionError(ValueError):
    """An option given by an old name."""


def refuse_renamed(schema: type, origin: str, values: Mapping[str, Any]) -> None:
    """Refuses old keys that `schema` has under a new name.

    Args:
        schema: the dataclass that `values` are for.
        origin: where they come from, for the message.
        values: nested by key.

    Raises:
        RenamedOptionError: the message lists every such key and its new name.
    """
    lines = []
    for old, new in RENAMED.items():
        present, value = _look_up(values, old)
        if not present or _takes(schema, old, value):
            continue
        if any(_takes(schema, key, None) for key in new):
            replacements = (f"{key} ({takes})" if takes else key for key, takes in new.items())
            lines.append(f"{old} is now {' or '.join(replacements)}")
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
    """Whether the dotted key is an option, and `value` is one that it accepts."""
    kind: Any = schema
    for part in key.split("."):
        kind = get_type_hints(kind).get(part) if is_dataclass(kind) else None
        if kind is None:
            return False
    section = is_dataclass(kind) and not any(field.name == "kind" for field in fields(kind))
    return not section or isinstance(value, Mapping)

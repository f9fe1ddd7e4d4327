"""Unquoted text that YAML reads as true or false: `off`, `no`, `on` and `yes`."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

from anchorweave.field_types import hints_of

# The words that YAML 1.1 reads as each.
WORDS = {False: ("off", "no"), True: ("on", "yes")}


def as_text(schema: type, origin: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with choices such as `check: off` restored to the original text.

    Args:
        schema: the dataclass of the values; unknown keys are left unchanged.
        origin: the file or argument that they come from, for messages.
        values: nested, as read from YAML.

    Raises:
        ValueError: true or false for a free-text option, as `prompt: no` is read: the original word
            is lost.
    """
    hints = hints_of(schema)
    return {key: _as_text(hints.get(key), f"{origin}: {key}", v) for key, v in values.items()}


def _as_text(kind: Any, where: str, value: Any) -> Any:
    if is_dataclass(kind) and isinstance(value, Mapping):
        hints = hints_of(kind)
        return {key: _as_text(hints.get(key), f"{where}.{key}", v) for key, v in value.items()}
    kinds = _alternatives(kind)
    if isinstance(value, list):
        inner = next((get_args(one) for one in kinds if get_origin(one) in (list, tuple)), ())
        return [_as_text(inner[0] if inner else None, where, entry) for entry in value]
    if not isinstance(value, bool) or bool in kinds or Any in kinds:
        return value
    choices = [choice for one in kinds if get_origin(one) is Literal for choice in get_args(one)]
    meant = [word for word in WORDS[value] if word in choices]
    if meant:
        return meant[0]
    if str in kinds:
        words = " or ".join(WORDS[value])
        raise ValueError(
            f"{where}: YAML reads {words} without quotes as {str(value).lower()}; to give the "
            "word, put it in quotes"
        )
    return value


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)

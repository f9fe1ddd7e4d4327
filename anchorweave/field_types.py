"""The types of a config's fields."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints


def hints_of(schema: type) -> dict[str, Any]:
    """The types of a dataclass's fields; for a section, the subclass of its default value.

    Registered memory systems have their options in such a subclass.
    """
    hints = get_type_hints(schema)
    for each in fields(schema):
        if is_dataclass(hints[each.name]) and each.default_factory is not MISSING:
            hints[each.name] = type(each.default_factory())
    return hints

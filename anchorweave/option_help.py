"""`--help`: every option with its default and meaning, from the dataclasses that define them."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType
from typing import Any, Literal, get_args

from anchorweave.config import as_words
from anchorweave.field_types import hints_of

WIDEST = 100
# Longer values, such as a recipe's stages, are truncated: see the YAML file.
LONGEST_VALUE = 72


@dataclass(frozen=True)
class Option:
    """One option.

    Args:
        key: dotted, as in `sampling.steps`.
        kind: its type; a dataclass for a section.
        meaning: from its dataclass's docstring; "" = undocumented.
    """

    key: str
    kind: Any
    meaning: str

    @property
    def is_section(self) -> bool:
        """Whether it holds options of its own."""
        return is_dataclass(self.kind)

    @property
    def values(self) -> tuple[str, ...]:
        """Its allowed values, if it is a choice."""
        parts = [self.kind, *get_args(self.kind)]
        named = [value for part in parts if _is_choice(part) for value in get_args(part)]
        return (*map(str, named), *(["null"] if named and NoneType in parts else []))


def options_of(schema: type, above: str = "") -> Iterator[Option]:
    """All options of a config dataclass and its sections, each section's options after it."""
    hints, meanings = hints_of(schema), meanings_of(schema)
    # Sections last, so that top-level options are grouped.
    for each in sorted(fields(schema), key=lambda each: is_dataclass(hints[each.name])):
        kind, key = hints[each.name], f"{above}{each.name}"
        meaning = meanings.get(each.name, "")
        if is_dataclass(kind):
            yield Option(key, kind, meaning or _first_line(kind))
            yield from options_of(kind, f"{key}.")
        else:
            yield Option(key, kind, meaning)


def meanings_of(schema: type) -> dict[str, str]:
    """Descriptions of all fields, from the `Args:` of a dataclass and its bases."""
    found: dict[str, str] = {}
    for kind in reversed(schema.__mro__):
        _, _, said = inspect.cleandoc(kind.__doc__ or "").partition("\nArgs:\n")
        name = None
        for line in said.splitlines():
            if line and not line.startswith("    "):
                break
            if begun := re.match(r" {4}(\w+): *(.*)", line):
                name, found[begun[1]] = begun[1], begun[2]
            elif name is not None and line.strip():
                found[name] += f" {line.strip()}"
    return found


def help_text(
    module: str,
    about: str,
    schema: type,
    default: str | None,
    defaults: Mapping[str, Any],
    also: Mapping[str, str],
) -> str:
    """The help of one entry point.

    Args:
        module: the module for `python -m`.
        about: its docstring.
        schema: its options.
        default: the YAML file used by default; None = none.
        defaults: values of the options, nested.
        also: arguments that are not options, and their meaning.
    """
    width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    lines = [f"python -m {module} [OPTION=VALUE ...]", "", inspect.cleandoc(about), ""]
    origin = f", as {default} sets them" if default else ""
    lines += [f"Options with their defaults{origin}:", ""]
    for option in options_of(schema):
        if option.is_section:
            lines += ["", *_filled(f"{option.key}: {option.meaning}", 0, width)]
            continue
        value = defaults
        for key in option.key.split("."):
            value = value[key]
        meaning = option.meaning
        if option.values:
            meaning = f"{meaning.removesuffix('.')}. One of: {', '.join(option.values)}."
        lines += [f"  {_word(option.key, value)}", *_filled(meaning, 6, width)]
    lines += ["", "Other words:", ""]
    for word, meaning in also.items():
        lines += [f"  {word}", *_filled(meaning, 6, width)]
    return "\n".join(lines)


def _filled(text: str, indent: int, width: int) -> list[str]:
    room = " " * indent
    return textwrap.wrap(text, width, initial_indent=room, subsequent_indent=room)


def _word(key: str, value: Any) -> str:
    """`key=value` as it can be typed into a shell."""
    text = as_words(value)
    if len(text) > LONGEST_VALUE:
        return f"{key}={text[:LONGEST_VALUE]} ..."
    word = f"{key}={text}"
    return word if re.fullmatch(r"[\w@%+=:,./\[\]-]*", word) else shlex.quote(word)


def _is_choice(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is Literal


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]

"""HTML and SVG as values: arguments are text and are escaped; only elements are markup.

Prevents injection: nothing that a user wrote (a row's name, a prompt, a path) can become markup.
"""

from __future__ import annotations

import html
from typing import Any

# HTML void elements, which have no closing tag.
VOID = ("br", "input", "meta")


class Markup(str):
    """Text that is already markup. Made by `element` and `joined`; directly only from constants."""


def text(value: Any) -> Markup:
    """`value` as markup: unchanged if it is markup, else its escaped text."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def joined(*values: Any) -> Markup:
    """Concatenates several values."""
    return Markup("".join(text(value) for value in values))


def element(tag: str, *inside: Any, **attributes: Any) -> Markup:
    """An element with its content.

    Args:
        tag: its name, such as `td`.
        inside: markup, or anything else as text.
        attributes: by name; `class_` becomes `class`, `stroke_width` becomes `stroke-width`. True
            gives an attribute without a value; None and False omit it.

    Raises:
        ValueError: content inside a void element.
    """
    words = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        words.append(name if value is True else f'{name}="{html.escape(str(value))}"')
    if tag not in VOID:
        return Markup(f"<{' '.join(words)}>{joined(*inside)}</{tag}>")
    if inside:
        raise ValueError(f"<{tag}> cannot have content, got {len(inside)} values")
    return Markup(f"<{' '.join(words)}>")

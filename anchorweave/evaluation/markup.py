"""HTML and SVG as values: what is given is text and is escaped; only elements are markup.

Nothing that a user wrote (a row's name, a prompt, a path) can become an element by this way.
"""

from __future__ import annotations

import html
from typing import Any

# Elements that HTML closes by themselves.
VOID = ("br", "input", "meta")


class Markup(str):
    """Text that is markup already. Made by `element` and `joined`; by hand only of constants."""


def text(value: Any) -> Markup:
    """`value` as markup: itself if it is markup, or else its text, escaped."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def joined(*values: Any) -> Markup:
    """Several values one after the other."""
    return Markup("".join(text(value) for value in values))


def element(tag: str, *inside: Any, **attributes: Any) -> Markup:
    """An element with what is inside of it.

    Args:
        tag: its name, such as `td`.
        inside: markup, or anything else as text.
        attributes: by their names; `class_` is `class`, `stroke_width` is `stroke-width`. True
            stands for an attribute without a value; None and False leave it out.

    Raises:
        ValueError: something inside an element that cannot hold anything.
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
        raise ValueError(f"<{tag}> cannot hold anything, got {len(inside)} values")
    return Markup(f"<{' '.join(words)}>")

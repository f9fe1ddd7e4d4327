"""Display names of clips: short and unique.

Names of procedural clips contain the whole description of the room, most of which is the same
throughout a table; files and options keep those names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from anchorweave.recordings.procedural_rooms.recording import PREFIX

ROOM = re.compile(rf"{PREFIX}-(?P<words>[a-z_]+=[^-]+(-[a-z_]+=[^-]+)*)")


def refuse_unprintable(names: Iterable[str], where: object) -> None:
    """Rejects names with control characters, which could affect a terminal.

    Args:
        names: names of rows or clips.
        where: their source, for the message.

    Raises:
        ValueError: names the first one, with its characters escaped.
    """
    for name in names:
        if not name.isprintable():
            raise ValueError(
                f"{where}: the name {name!r} holds characters that cannot be printed; rename it"
            )


def readable(clips: Iterable[str]) -> dict[str, str]:
    """Clip -> display name.

    A room is "room 910000" by its seed, with whatever else distinguishes it in brackets: "room
    910000 (errors=3)". All others keep their names.

    Args:
        clips: all clips that are named together.
    """
    clips = list(dict.fromkeys(clips))
    rooms = {clip: _words(clip) for clip in clips}
    described = [set(words.items()) for words in rooms.values() if words]
    same = set.intersection(*described) if described else set()
    names = {}
    for clip, words in rooms.items():
        if "seed" not in words:
            names[clip] = clip
            continue
        rest = [f"{k}={v}" for k, v in words.items() if k != "seed" and (k, v) not in same]
        names[clip] = f"room {words['seed']}" + f" ({', '.join(rest)})" * bool(rest)
    # Ambiguous display names are replaced by the full name.
    counts = list(names.values())
    return {clip: name if counts.count(name) == 1 else clip for clip, name in names.items()}


def _words(clip: str) -> dict[str, str]:
    match = ROOM.fullmatch(clip)
    if match is None:
        return {}
    return dict(word.split("=", 1) for word in match["words"].split("-"))

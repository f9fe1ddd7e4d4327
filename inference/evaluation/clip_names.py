"""What clips are called where people read: short, and each another.

Clips of rooms made on the spot bear all the words that describe the room, most of which are the
same for all of a table; files and options keep those names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from anchorweave.recordings.procedural_rooms.recording import PREFIX

ROOM = re.compile(rf"{PREFIX}-(?P<words>[a-z_]+=[^-]+(-[a-z_]+=[^-]+)*)")


def refuse_unprintable(names: Iterable[str], where: object) -> None:
    """Refuse names that would do something to whatever they are shown on, such as a terminal.

    Args:
        names: of rows, or of clips.
        where: what has them, for the message.

    Raises:
        ValueError: names the first one, its characters spelled out.
    """
    for name in names:
        if not name.isprintable():
            raise ValueError(
                f"{where}: the name {name!r} holds characters that cannot be printed; rename it"
            )


def readable(clips: Iterable[str]) -> dict[str, str]:
    """Clip -> what it is called to people.

    A room is "room 910000" by its seed, with what else tells it from the other rooms in brackets:
    "room 910000 (errors=3)". All others keep their names.

    Args:
        clips: all that are named together.
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
    # One that is called what another is called says nothing.
    counts = list(names.values())
    return {clip: name if counts.count(name) == 1 else clip for clip, name in names.items()}


def _words(clip: str) -> dict[str, str]:
    found = ROOM.fullmatch(clip)
    if found is None:
        return {}
    return dict(word.split("=", 1) for word in found["words"].split("-"))

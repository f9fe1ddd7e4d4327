"""The state of an exploration as an immutable value: path, segments, memory versions, undo.

Independent of browser, memory and networks. Every change makes a new value, saved to
OUTPUT/explorer.json by write and rename: after a crash the file holds either the old or the new
value.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from anchorweave.files import atomic_write

STATE = "explorer.json"
# Incremented when the meaning of the file changes.
VERSION, VERSION_KEY = 1, "explorer_version"
# Number of drawing steps that can be undone.
UNDO_KEPT = 100

# Rows of a camera-to-world transform [4, 4], in the world of the memory's cameras.
Pose = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Drawn:
    """A drawn path: from a remembered frame through keyframes.

    Args:
        start: number of the start frame; None = the newest.
        keyframes: poses after the start.
        speed: keyboard steps per frame; 1 is 0.03 scene units or 2 degrees.
        smooth: splines through the keyframes, or else straight lines and great arcs.
        prompts: prompts of the segments; missing ones use the run's own prompt.
    """

    start: int | None = None
    keyframes: tuple[Pose, ...] = ()
    speed: float = 1.0
    smooth: bool = True
    prompts: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Version:
    """A version of the memory; accepted segments and edits create new ones.

    Args:
        number: 0, 1, ...; 0 is the initial memory.
        parent: number of the version it was made from.
        made: how: start, segment or edit.
        about: description.
        segment: number of the segment that it added.
        before: the path at that time; restored when the version is reverted.
    """

    number: int
    parent: int | None
    made: str
    about: str
    segment: int | None = None
    before: Drawn | None = None


@dataclass(frozen=True)
class Segment:
    """A generated video in OUTPUT/segments/NNNN.

    Args:
        number: 0, 1, ...
        version: version of the memory that it was retrieved from.
        prompt: its prompt.
        seed: seed of its noise.
        drawn: the path at that time, of which it is the first segment.
    """

    number: int
    version: int
    prompt: str
    seed: int
    drawn: Drawn


@dataclass(frozen=True)
class Explored:
    """The state of an exploration.

    Args:
        root: folder of the initial memory.
        unit: length of one scene unit, in the unit of the memory.
        asked: the memory system that the run was started with.
        kind: the memory system in use.
        versions: versions of the memory, in order of creation; never removed.
        current: number of the current version.
        segments: all generated segments.
        pending: number of the segment to be accepted or reverted.
        drawn: the path.
        past: earlier paths, newest last.
        future: undone paths, the next one last.
        selected: number of the selected remembered frame.
        keyframe: number (0, 1, ...) of the selected keyframe.
    """

    root: str
    unit: float
    asked: str
    kind: str
    versions: tuple[Version, ...] = (Version(0, None, "start", "as it was found"),)
    current: int = 0
    segments: tuple[Segment, ...] = ()
    pending: int | None = None
    drawn: Drawn = field(default_factory=Drawn)
    past: tuple[Drawn, ...] = ()
    future: tuple[Drawn, ...] = ()
    selected: int | None = None
    keyframe: int | None = None

    @property
    def version(self) -> Version:
        """The current version of the memory."""
        return self.versions[self.current]

    @property
    def branch(self) -> tuple[Version, ...]:
        """The versions that lead to the current one, oldest first."""
        chain = [self.version]
        while chain[-1].parent is not None:
            chain.append(self.versions[chain[-1].parent])
        return tuple(reversed(chain))

    def draw(self, drawn: Drawn) -> Explored:
        """Sets another path; the previous one can be restored."""
        if drawn == self.drawn:
            return self
        past = (*self.past, self.drawn)[-UNDO_KEPT:]
        return replace(self, past=past, future=(), **self._shown(drawn))

    def undo(self) -> Explored:
        """Restores the path before the last change.

        Raises:
            ValueError: there was no change.
        """
        if not self.past:
            raise ValueError("nothing to undo: the path was not changed")
        future = (*self.future, self.drawn)
        return replace(self, past=self.past[:-1], future=future, **self._shown(self.past[-1]))

    def redo(self) -> Explored:
        """Restores the path before the last `undo`.

        Raises:
            ValueError: nothing was undone.
        """
        if not self.future:
            raise ValueError("nothing to redo")
        past = (*self.past, self.drawn)
        return replace(self, past=past, future=self.future[:-1], **self._shown(self.future[-1]))

    def choose(self, number: int | None) -> Explored:
        """Selects a keyframe, or none.

        Raises:
            ValueError: no keyframe with this number.
        """
        if number is not None:
            refuse_keyframe(self.drawn, number)
        return replace(self, keyframe=number)

    def generated(self, prompt: str, seed: int, drawn: Drawn) -> Explored:
        """Adds a new pending segment.

        Args:
            prompt: prompt of the segment.
            seed: seed of its noise.
            drawn: the path when its generation started.
        """
        made = Segment(len(self.segments), self.current, prompt, seed, drawn)
        return replace(self, segments=(*self.segments, made), pending=made.number)

    def accept(self, rest: Drawn) -> Explored:
        """Accepts the pending segment: a new version, from whose end the path continues.

        Args:
            rest: the rest of the path.

        Raises:
            ValueError: no segment is pending.
        """
        made = self._pending()
        about = f"segment {made.number} remembered"
        return replace(
            self._grown("segment", about, made.number, made.drawn), pending=None, **_path(rest)
        )

    def edited(self, about: str) -> Explored:
        """Adds a version with an edit; the path stays.

        Args:
            about: description of the edit.

        Raises:
            ValueError: a segment is pending.
        """
        if self.pending is not None:
            raise ValueError(
                f"segment {self.pending} was made from the memory as it is; accept or revert it "
                "before you edit"
            )
        return self._grown("edit", about, None, self.drawn)

    def revert(self) -> Explored:
        """Shelves the pending segment, or else goes back one version; restores that path.

        Both are kept: `go_to` and `bring_back` return to them.

        Raises:
            ValueError: nothing was generated, accepted or edited.
        """
        if self.pending is not None:
            return replace(self, pending=None, **_path(self._pending().drawn))
        if self.version.parent is None:
            raise ValueError("nothing to revert: this is the initial memory")
        return replace(
            self, current=self.version.parent, selected=None, **_path(self.version.before)
        )

    def go_to(self, number: int) -> Explored:
        """Switches to another version of the memory; a pending segment is shelved.

        Raises:
            ValueError: there is no such version.
        """
        if not 0 <= number < len(self.versions):
            raise ValueError(f"there is no version {number}; there are 0..{len(self.versions) - 1}")
        return replace(self, current=number, pending=None, selected=None, **_path(Drawn()))

    def bring_back(self, number: int) -> Explored:
        """Makes a shelved segment pending again, over the memory that it was made from.

        Raises:
            ValueError: no such segment, or it was accepted.
        """
        if not 0 <= number < len(self.segments):
            raise ValueError(f"there is no segment {number}; there are {len(self.segments)}")
        if number in {version.segment for version in self.versions}:
            raise ValueError(f"segment {number} was accepted; go to the version that contains it")
        made = self.segments[number]
        return replace(
            self, current=made.version, pending=number, selected=None, **_path(made.drawn)
        )

    def _shown(self, drawn: Drawn) -> dict[str, Any]:
        """Replaces the path; if it has fewer keyframes, none is selected."""
        fewer = len(drawn.keyframes) < len(self.drawn.keyframes)
        return {"drawn": drawn, "keyframe": None if fewer else self.keyframe}

    def _pending(self) -> Segment:
        if self.pending is None:
            raise ValueError("no segment is pending; generate one")
        return self.segments[self.pending]

    def _grown(self, made: str, about: str, segment: int | None, before: Drawn) -> Explored:
        new = Version(len(self.versions), self.current, made, about, segment, before)
        return replace(self, versions=(*self.versions, new), current=new.number)


def _path(drawn: Drawn) -> dict[str, Any]:
    """The path of another version, without its undo history."""
    return {"drawn": drawn, "past": (), "future": (), "keyframe": None}


def refuse_keyframe(drawn: Drawn, number: int) -> None:
    """Rejects keyframe numbers (0, 1, ...) that a path does not have.

    Raises:
        ValueError: names it as the page does, counting from 1.
    """
    if not 0 <= number < len(drawn.keyframes):
        raise ValueError(f"there is no keyframe {number + 1}; there are {len(drawn.keyframes)}")


def save_state(state: Explored, output: Path) -> None:
    """Writes explorer.json to a temporary file, then renames it.

    Raises:
        OSError: it cannot be written; the old file is kept.
    """
    with atomic_write(output / STATE) as aside:
        aside.write_text(json.dumps({VERSION_KEY: VERSION, **asdict(state)}) + "\n")


def load_state(output: Path) -> Explored | None:
    """Reads explorer.json; None if there is none.

    Raises:
        ValueError: it is damaged, or was written by another version of this code.
    """
    file = output / STATE
    if not file.exists():
        return None
    try:
        values = json.loads(file.read_text())
        if values.pop(VERSION_KEY) != VERSION:
            raise ValueError("another version of the explorer wrote it")
        return _explored(values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file}: is not a valid state of an exploration ({type(error).__name__}: {error}); "
            "restore it, or set another output="
        ) from error


def _explored(values: dict[str, Any]) -> Explored:
    state = Explored(
        **{
            **values,
            "versions": tuple(
                Version(**{**v, "before": None if v["before"] is None else _drawn(v["before"])})
                for v in values["versions"]
            ),
            "segments": tuple(
                Segment(**{**s, "drawn": _drawn(s["drawn"])}) for s in values["segments"]
            ),
            "drawn": _drawn(values["drawn"]),
            "past": tuple(map(_drawn, values["past"])),
            "future": tuple(map(_drawn, values["future"])),
        }
    )
    numbered = [v.number for v in state.versions] == list(range(len(state.versions)))
    if not numbered or not 0 <= state.current < len(state.versions):
        raise ValueError(f"it is at version {state.current} of {len(state.versions)}")
    parents = [state.versions[i].parent for i in range(1, len(state.versions))]
    if any(not 0 <= parent <= i for i, parent in enumerate(parents)):
        raise ValueError("a version is made from a later one")
    if state.pending is not None and not 0 <= state.pending < len(state.segments):
        raise ValueError(f"segment {state.pending} of {len(state.segments)} is pending")
    return state.choose(state.keyframe)


def _drawn(values: dict[str, Any]) -> Drawn:
    keyframes = tuple(tuple(tuple(map(float, row)) for row in k) for k in values["keyframes"])
    if any(len(k) != 4 or any(len(row) != 4 for row in k) for k in keyframes):
        raise ValueError("a keyframe is not a 4 x 4 transform")
    return Drawn(**{**values, "keyframes": keyframes, "prompts": tuple(values["prompts"])})

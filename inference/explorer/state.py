"""Where an exploration stands, as a value: path, segments, versions of the memory, undo.

Nothing here knows a browser, a memory or a network. Every change makes a new value; one file,
OUTPUT/explorer.json, keeps it, written aside and renamed: who is killed finds the value before or
the value after.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from anchorweave.files import atomic_write

STATE = "explorer.json"
# One change of what the file means, one more.
VERSION, VERSION_KEY = 1, "explorer_version"
# Steps of drawing that can be undone.
UNDO_KEPT = 100

# Rows of a camera-to-world transform [4, 4], in the world of the memory's cameras.
Pose = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Drawn:
    """A path as it is drawn: from a remembered frame through keyframes.

    Args:
        start: number of the remembered frame that it begins at; None = the newest.
        keyframes: poses after that one.
        speed: keyboard steps a frame; 1 is 0.03 scene units or 2 degrees.
        smooth: whether places and rotations lie on splines through the keyframes, or places on
            straight lines and rotations on great arcs.
        prompts: what each segment shows; those that lack use the run's own prompt.
    """

    start: int | None = None
    keyframes: tuple[Pose, ...] = ()
    speed: float = 1.0
    smooth: bool = True
    prompts: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Version:
    """A memory as it was at one time; accepted segments and edits make new ones.

    Args:
        number: 0, 1, ...; 0 is the memory that the exploration began with.
        parent: number of the version that it was made from.
        made: how: start, segment or edit.
        about: the same in words.
        segment: number of the segment that it remembers.
        before: the path as it was drawn before; given back when the version is reverted.
    """

    number: int
    parent: int | None
    made: str
    about: str
    segment: int | None = None
    before: Drawn | None = None


@dataclass(frozen=True)
class Segment:
    """A generated video that lies in OUTPUT/segments/NNNN.

    Args:
        number: 0, 1, ...
        version: of the memory that it was retrieved from.
        prompt: what it shows.
        seed: of its noise.
        drawn: the path as it was, of which it is the first stretch.
    """

    number: int
    version: int
    prompt: str
    seed: int
    drawn: Drawn


@dataclass(frozen=True)
class Explored:
    """Where an exploration stands.

    Args:
        root: folder of the memory that it began with.
        unit: length of one scene unit, in the unit of the memory.
        asked: the memory system that the run was started with.
        kind: the one that is looked through.
        versions: of the memory, in the order they were made; none is ever removed.
        current: number of the one that is explored.
        segments: all that were generated.
        pending: number of the segment that waits to be accepted or reverted.
        drawn: the path.
        past: earlier paths, newest last.
        future: those that were undone, the next one last.
        selected: number of the remembered frame that is looked at.
        keyframe: number (0, 1, ...) of the keyframe that is worked on.
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
        """The version of the memory that is explored."""
        return self.versions[self.current]

    @property
    def branch(self) -> tuple[Version, ...]:
        """The versions that lead to the current one, oldest first."""
        chain = [self.version]
        while chain[-1].parent is not None:
            chain.append(self.versions[chain[-1].parent])
        return tuple(reversed(chain))

    def draw(self, drawn: Drawn) -> Explored:
        """Another path; the one before can be had back."""
        if drawn == self.drawn:
            return self
        past = (*self.past, self.drawn)[-UNDO_KEPT:]
        return replace(self, past=past, future=(), **self._shown(drawn))

    def undo(self) -> Explored:
        """The path before the last change.

        Raises:
            ValueError: there was none.
        """
        if not self.past:
            raise ValueError("nothing to undo: the path was not changed")
        future = (*self.future, self.drawn)
        return replace(self, past=self.past[:-1], future=future, **self._shown(self.past[-1]))

    def redo(self) -> Explored:
        """The path before the last `undo`.

        Raises:
            ValueError: nothing was undone.
        """
        if not self.future:
            raise ValueError("nothing to redo")
        past = (*self.past, self.drawn)
        return replace(self, past=past, future=self.future[:-1], **self._shown(self.future[-1]))

    def choose(self, number: int | None) -> Explored:
        """Work on another keyframe, or on none.

        Raises:
            ValueError: there is none of this number.
        """
        if number is not None:
            refuse_keyframe(self.drawn, number)
        return replace(self, keyframe=number)

    def generated(self, prompt: str, seed: int, drawn: Drawn) -> Explored:
        """A new segment waits to be accepted or reverted.

        Args:
            prompt: of the segment.
            seed: of its noise.
            drawn: the path as it was when it was begun.
        """
        made = Segment(len(self.segments), self.current, prompt, seed, drawn)
        return replace(self, segments=(*self.segments, made), pending=made.number)

    def accept(self, rest: Drawn) -> Explored:
        """The pending segment is remembered: a new version, from whose end the path goes on.

        Args:
            rest: what is left of the path.

        Raises:
            ValueError: no segment waits.
        """
        made = self._pending()
        about = f"segment {made.number} remembered"
        return replace(
            self._grown("segment", about, made.number, made.drawn), pending=None, **_path(rest)
        )

    def edited(self, about: str) -> Explored:
        """A new version whose frames show an edit; the path stays.

        Args:
            about: the edit in words.

        Raises:
            ValueError: a segment waits to be accepted or reverted.
        """
        if self.pending is not None:
            raise ValueError(
                f"segment {self.pending} was made from the memory as it is; accept or revert it "
                "before you edit"
            )
        return self._grown("edit", about, None, self.drawn)

    def revert(self) -> Explored:
        """The pending segment is put aside, or else the last version; the path is as before it.

        Both are kept: `go_to` and `bring_back` return to them.

        Raises:
            ValueError: nothing was generated, accepted or edited.
        """
        if self.pending is not None:
            return replace(self, pending=None, **_path(self._pending().drawn))
        if self.version.parent is None:
            raise ValueError("nothing to revert: the memory is as it was found")
        return replace(
            self, current=self.version.parent, selected=None, **_path(self.version.before)
        )

    def go_to(self, number: int) -> Explored:
        """Another version of the memory; what waits is put aside.

        Raises:
            ValueError: there is no such version.
        """
        if not 0 <= number < len(self.versions):
            raise ValueError(f"there is no version {number}; there are 0..{len(self.versions) - 1}")
        return replace(self, current=number, pending=None, selected=None, **_path(Drawn()))

    def bring_back(self, number: int) -> Explored:
        """A segment that was put aside waits again, over the memory that it was made from.

        Raises:
            ValueError: there is no such segment, or a version remembers it.
        """
        if not 0 <= number < len(self.segments):
            raise ValueError(f"there is no segment {number}; there are {len(self.segments)}")
        if number in {version.segment for version in self.versions}:
            raise ValueError(f"segment {number} was accepted; go to the version that remembers it")
        made = self.segments[number]
        return replace(
            self, current=made.version, pending=number, selected=None, **_path(made.drawn)
        )

    def _shown(self, drawn: Drawn) -> dict[str, Any]:
        """A path in place of this one; where it has fewer keyframes, none is worked on."""
        fewer = len(drawn.keyframes) < len(self.drawn.keyframes)
        return {"drawn": drawn, "keyframe": None if fewer else self.keyframe}

    def _pending(self) -> Segment:
        if self.pending is None:
            raise ValueError("no segment waits to be accepted; generate one")
        return self.segments[self.pending]

    def _grown(self, made: str, about: str, segment: int | None, before: Drawn) -> Explored:
        new = Version(len(self.versions), self.current, made, about, segment, before)
        return replace(self, versions=(*self.versions, new), current=new.number)


def _path(drawn: Drawn) -> dict[str, Any]:
    """A path of another version: steps of drawing over there are not undone here."""
    return {"drawn": drawn, "past": (), "future": (), "keyframe": None}


def refuse_keyframe(drawn: Drawn, number: int) -> None:
    """Refuse the number (0, 1, ...) of a keyframe that a path does not have.

    Raises:
        ValueError: names it as the page does, from 1 on.
    """
    if not 0 <= number < len(drawn.keyframes):
        raise ValueError(f"there is no keyframe {number + 1}; there are {len(drawn.keyframes)}")


def save_state(state: Explored, output: Path) -> None:
    """Write explorer.json aside, then rename.

    Raises:
        OSError: it cannot be written; the one before stays.
    """
    with atomic_write(output / STATE) as aside:
        aside.write_text(json.dumps({VERSION_KEY: VERSION, **asdict(state)}) + "\n")


def load_state(output: Path) -> Explored | None:
    """What explorer.json says; None where there is none.

    Raises:
        ValueError: it is damaged, or another version of this code wrote it.
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
            f"{file}: does not say where an exploration stands ({type(error).__name__}: {error}); "
            "put it back, or explore into another output="
        ) from error


def _explored(values: dict[str, Any]) -> Explored:
    found = Explored(
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
    numbered = [v.number for v in found.versions] == list(range(len(found.versions)))
    if not numbered or not 0 <= found.current < len(found.versions):
        raise ValueError(f"it is at version {found.current} of {len(found.versions)}")
    parents = [found.versions[i].parent for i in range(1, len(found.versions))]
    if any(not 0 <= parent <= i for i, parent in enumerate(parents)):
        raise ValueError("a version is made from a later one")
    if found.pending is not None and not 0 <= found.pending < len(found.segments):
        raise ValueError(f"segment {found.pending} of {len(found.segments)} waits")
    return found.choose(found.keyframe)


def _drawn(values: dict[str, Any]) -> Drawn:
    keyframes = tuple(tuple(tuple(map(float, row)) for row in k) for k in values["keyframes"])
    if any(len(k) != 4 or any(len(row) != 4 for row in k) for k in keyframes):
        raise ValueError("a keyframe is no transform of 4 x 4")
    return Drawn(**{**values, "keyframes": keyframes, "prompts": tuple(values["prompts"])})

"""Generate: a prompt per segment, the video next to its anchors, accept or revert."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

from viser import Icon

from inference.explorer.generating import (
    MONTAGE,
    accept,
    generate,
    prompt_of_segment,
    segment_folder,
)
from inference.explorer.page.base import Section, Shared

# Maximum size in bytes of a video embedded in the page; for larger ones the path is shown.
LARGEST_VIDEO = 12_000_000


class Generate(Section):
    """The Generate section; see `Shared` for the argument."""

    def __init__(self, page: Shared):
        self.page = page
        gui = page.server.gui
        self.about = gui.add_markdown("")
        self.segment = gui.add_dropdown(
            "Segment", ("1",), hint="Segment of the path; the first one is generated next."
        )
        self.segment.on_update(page.guarded("Segment", lambda event: self._show_prompt()))
        self.prompt = gui.add_text("Prompt", "", multiline=True, hint="The prompt of this segment.")
        self.prompt.on_update(page.guarded("Prompt", self._set_prompt))
        self.seed = gui.add_number("Seed", page.session.config.seed, min=0, step=1)
        self.make = page.button("Generate", self._generate, icon=Icon.SPARKLES, color="blue")
        self.video = gui.add_html("", visible=False)
        self.accept = page.button(
            "Accept",
            lambda event: accept(page.session),
            icon=Icon.CHECK,
            color="green",
            hint="Adds these frames to the memory; the path continues from their end.",
            visible=False,
        )
        self.revert = page.button(
            "Revert",
            lambda event: page.session.revert(),
            icon=Icon.ARROW_BACK,
            color="red",
            hint="Restores the previous memory and path; the branch is kept.",
        )
        with gui.add_folder("Branches"):
            self.branches = gui.add_dropdown(
                "Go to", ("-",), hint="Versions of the memory, and shelved segments."
            )
            page.button("Go", self._go, icon=Icon.GIT_BRANCH)
        self._shown: int | None = None

    def refresh(self, memory: bool) -> None:
        """Shows the session's state; `memory` says whether the memory changed."""
        session, state = self.page.session, self.page.session.state
        count, waits = session.segments(), state.pending is not None
        options = tuple(str(i + 1) for i in range(max(count, 1)))
        if tuple(self.segment.options) != options:
            self.segment.options = options
        self._show_prompt()
        self.make.disabled = session.busy or waits or not count
        self.make.visible = not waits
        self.accept.visible = waits
        self.accept.disabled = session.busy
        self.revert.disabled = session.busy or (not waits and state.version.parent is None)
        if waits:
            said = f"**Segment {state.pending}** is pending: accept or revert it."
        elif count:
            said = f"Next: segment 1 of **{count}** of the path, {session.config.frames} frames."
        else:
            said = "Draw a path first."
        if session.config.frames and not waits and state.version.parent is not None:
            said += f"  \nRevert undoes version {state.version.number}: {state.version.about}."
        self.about.content = said
        self._show_video(state.pending)
        branches = self._branches()
        if tuple(self.branches.options) != branches:
            self.branches.options = branches

    def _show_prompt(self) -> None:
        ahead = int(self.segment.value) - 1
        text = prompt_of_segment(self.page.session, ahead)
        if self.prompt.value != text:
            self.prompt.value = text

    def _set_prompt(self, event: Any) -> None:
        session, ahead = self.page.session, int(self.segment.value) - 1
        if event.client is None or self.prompt.value == prompt_of_segment(session, ahead):
            return
        with session.lock:
            session.refuse_busy()
            prompts = list(session.state.drawn.prompts)
            prompts += [None] * (ahead + 1 - len(prompts))
            prompts[ahead] = self.prompt.value
            drawn = replace(session.state.drawn, prompts=tuple(prompts))
            session.keep(replace(session.state, drawn=drawn))

    def _generate(self, event: Any) -> None:
        generate(self.page.session, self.page.networks, int(self.seed.value))

    def _show_video(self, number: int | None) -> None:
        if number == self._shown:
            return
        self._shown = number
        self.video.visible = number is not None
        if number is None:
            self.video.content = ""
            return
        file = segment_folder(self.page.session.output, number) / MONTAGE
        self.video.content = video_html(file)

    def _branches(self) -> tuple[str, ...]:
        state = self.page.session.state
        accepted = {version.segment for version in state.versions}
        names = []
        for version in state.versions:
            mark = ", here" if version.number == state.current else ""
            origin = "" if version.parent is None else f" (of {version.parent})"
            names.append(f"version {version.number}{origin}: {version.about}{mark}")
        names += [
            f"segment {segment.number} of version {segment.version}, shelved"
            for segment in state.segments
            if segment.number not in accepted and segment.number != state.pending
        ]
        return tuple(names)

    def _go(self, event: Any) -> None:
        kind, number = self.branches.value.split(":")[0].split()[:2]
        session = self.page.session
        if kind == "version":
            session.go_to(int(number))
        else:
            session.bring_back(int(number))


def video_html(file: Path) -> str:
    """A video as HTML; for a video that is too large, its path."""
    content = file.read_bytes()
    if len(content) > LARGEST_VIDEO:
        return f"<p>{len(content) / 1e6:.0f} MB: open {file}</p>"
    data = base64.b64encode(content).decode("ascii")
    return (
        '<video controls autoplay loop muted playsinline style="width:100%;border-radius:4px" '
        f'src="data:video/mp4;base64,{data}"></video>'
    )

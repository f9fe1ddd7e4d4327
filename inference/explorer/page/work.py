"""Background job: what is running, its progress, and Cancel; above all tabs."""

from __future__ import annotations

from typing import Any

from viser import Icon

from inference.explorer.page.base import Section, Shared


class Work(Section):
    """The Work section; see `Shared` for the argument."""

    def __init__(self, page: Shared):
        self.page = page
        gui = page.server.gui
        self.about = gui.add_markdown("", visible=False)
        self.bar = gui.add_progress_bar(0.0, visible=False, animated=True)
        self.stop = page.button("Cancel", self._cancel, icon=Icon.PLAYER_STOP, visible=False)

    def refresh(self, memory: bool) -> None:
        """Shows the session's state; `memory` says whether the memory changed."""
        session, job = self.page.session, self.page.session.job
        busy = session.busy and job is not None
        self.about.visible = self.bar.visible = self.stop.visible = busy
        if busy and job is not None:
            progress = job.progress
            self.bar.value = 100 * progress.share
            self.about.content = f"{progress.what[:1].upper()}{progress.what[1:]} ..."

    def _cancel(self, event: Any) -> None:
        if self.page.session.job is not None:
            self.page.session.job.cancel()

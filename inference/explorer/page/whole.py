"""The page: its sections, and how they are kept up to date."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

import viser

from inference.explorer.networks import Networks
from inference.explorer.page.base import Section, Shared
from inference.explorer.page.draw import Draw
from inference.explorer.page.edit import EditSection
from inference.explorer.page.export import Export
from inference.explorer.page.generate import Generate
from inference.explorer.page.live import LivePanel
from inference.explorer.page.see import See
from inference.explorer.page.work import Work
from inference.explorer.scene import Scene
from inference.explorer.session import Session

TITLE = "AnchorWeave explorer"
BRAND = (60, 120, 210)
# Width of the panel at the right, in pixels.
WIDTH = 340
# Intervals at which progress is shown and the memory on disk is checked.
PROGRESS_SECONDS, DISK_SECONDS = 0.25, 3.0


class Page:
    """The explorer's page, served until `stop`.

    Args:
        session: the exploration.
        networks: the networks.
        host: address to serve it at.
        port: the first port to try; 0 = any.
    """

    def __init__(self, session: Session, networks: Networks, host: str, port: int):
        self.session = session
        self.server = viser.ViserServer(host=host, port=port, label=TITLE, verbose=False)
        gui = self.server.gui
        # viser's share button routes through another company's server.
        gui.configure_theme(
            dark_mode=True,
            show_logo=False,
            show_share_button=False,
            brand_color=BRAND,
            control_width="medium",
        )
        self.scene = Scene(self.server, session)
        self.shared = Shared(self.server, session, networks, self.scene)
        self._live: dict[int, LivePanel] = {}
        self._stopped = threading.Event()
        gui.main_panel.dock_right()
        gui.main_panel.set_width(WIDTH)
        self.work = Work(self.shared)
        tabs = gui.add_tab_group()
        self.sections: list[Section] = [self.work]
        made: dict[str, Callable[[Shared], Section]] = {
            "See": See,
            "Draw": Draw,
            "Generate": Generate,
            "Edit": EditSection,
            "Export": Export,
        }
        for label, make in made.items():
            with tabs.add_tab(label):
                self.sections.append(make(self.shared))
        self.draw = next(s for s in self.sections if isinstance(s, Draw))
        session.changed.append(self.refresh)
        session.ended.append(self._ended)
        self.server.on_client_connect(self._connected)
        self.server.on_client_disconnect(self._gone)
        self.refresh(True)
        for work in (self._watch_progress, self._watch_disk):
            threading.Thread(target=work, daemon=True).start()

    @property
    def address(self) -> str:
        """The URL of the page."""
        return f"http://{self.server.get_host()}:{self.server.get_port()}"

    def refresh(self, memory: bool) -> None:
        """Shows the session's state in every section and in the scene."""
        with self.shared.refreshing, self.server.atomic():
            for section in self.sections:
                section.refresh(memory)
            if memory:
                self.scene.place_camera()
                self.scene.show_memory()
            self.scene.show_path()
        if memory:
            for panel in list(self._live.values()):
                panel.moved()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        for panel in list(self._live.values()):
            panel.close()
        self.server.stop()

    def _connected(self, client: viser.ClientHandle) -> None:
        panel = LivePanel(self.shared, client)
        self._live[client.client_id] = panel

        def moved(camera: viser.CameraHandle) -> None:
            panel.moved()
            try:
                self.draw.stepped(client)
            except ValueError as error:
                self.draw.stop_walking()
                self.shared.tell("Walk", str(error), wrong=True, client=client)

        client.camera.on_update(moved)
        panel.moved()

    def _gone(self, client: viser.ClientHandle) -> None:
        if (panel := self._live.pop(client.client_id, None)) is not None:
            panel.close()
        if self.shared.walker == client.client_id:
            self.draw.stop_walking()

    def _ended(self, said: str | None) -> None:
        """Called by a job's thread, which stays alive until this returns."""
        if said is not None and self.session.job is not None:
            what = self.session.job.progress.what
            self.shared.tell(what[:1].upper() + what[1:], said, wrong=True)

    def _watch_progress(self) -> None:
        was = False
        while not self._stopped.wait(PROGRESS_SECONDS):
            busy = self.session.busy
            if busy:
                self.work.refresh(False)
            if was != busy:
                self.refresh(False)
            was = busy

    def _watch_disk(self) -> None:
        while not self._stopped.wait(DISK_SECONDS):
            try:
                if more := self.session.follow():
                    self.shared.tell("Memory grew", f"{more} frames came from another process")
            except (ValueError, OSError) as error:
                # Reported once; the next check runs after somebody has fixed it.
                self.shared.tell("The memory on disk", str(error), wrong=True)
                traceback.print_exc()
                return


def wait() -> None:
    """Waits until Ctrl-C or a signal."""
    while True:
        time.sleep(3600)

"""Live: what memory shows of a browser's current view, updated as it moves."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import viser
from viser import Icon

from inference.explorer.frusta import add_frustum
from inference.explorer.live import Looked, picture, slot_colour, told
from inference.explorer.mistakes import told_of
from inference.explorer.page.base import Shared, view_of

PICKS = "/picks"
WIDTH = 360


class LivePanel:
    """The panel of one browser; retrieves again whenever its view or the memory changed.

    Args:
        page: objects shared by all sections.
        client: the browser.
    """

    def __init__(self, page: Shared, client: viser.ClientHandle):
        self.page, self.client = page, client
        self._moved, self._gone = threading.Event(), False
        self._picked: tuple[Any, ...] | None = None
        panel = client.gui.add_panel()
        with panel.add_tab("Live retrieval", Icon.EYE):
            self.about = client.gui.add_markdown("Looking ...")
            self.image = client.gui.add_image(np.full((80, 120, 3), 40, np.uint8))
        panel.dock_left()
        panel.set_width(WIDTH)
        threading.Thread(target=self._follow, name="live", daemon=True).start()

    def moved(self) -> None:
        """Called when the view or the memory changed."""
        self._moved.set()

    def close(self) -> None:
        """Called when the browser disconnected."""
        self._gone = True
        self._moved.set()

    def _follow(self) -> None:
        while not self._gone:
            self._moved.wait()
            self._moved.clear()
            if self._gone:
                return
            try:
                self._look()
            except Exception as error:
                # The next view may work again.
                self.about.content = told_of(error)
            time.sleep(self.page.session.config.live)

    def _look(self) -> None:
        session = self.page.session
        if not len(session.bank):
            self.about.content = "Nothing is remembered yet."
            self._show_picks(None)
            return
        looked = session.look(session.view(view_of(self.client)))
        self.about.content = told(looked)
        self.image.image = picture(looked)
        self._show_picks(looked)

    def _show_picks(self, looked: Looked | None) -> None:
        """Shows the chosen cameras in the colours of their slots."""
        bank, scene = self.page.session.bank, self.client.scene
        picks = () if looked is None else looked.report.picks
        key = (str(bank.path), *((pick.slot, pick.memory) for pick in picks))
        if key == self._picked:
            return
        self._picked = key
        with self.client.atomic():
            scene.remove_by_name(PICKS)
            for pick in picks:
                # Their images are in the panel; in the scene they would hide what is behind.
                camera, name = bank.cameras[pick.memory], f"{PICKS}/{pick.slot}"
                size = 1.25 * self.page.scene.size
                add_frustum(scene, name, camera, size, slot_colour(pick.slot), 3.5)

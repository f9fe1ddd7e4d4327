"""Export: the long video, the memory for other tools, and the scene as a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from viser import Icon

from inference.explorer.exporting import (
    export_colmap,
    export_nerfstudio,
    export_page,
    export_points,
    export_video,
)
from inference.explorer.jobs import Job
from inference.explorer.page.base import Section, Shared
from inference.explorer.places import EXPORTS
from inference.explorer.session import Session

# Maximum size in bytes of a file that is also sent to the browser.
LARGEST_SENT = 100_000_000


class Export(Section):
    """The Export section; see `Shared` for the argument."""

    def __init__(self, page: Shared):
        self.page = page
        folder = page.session.output / EXPORTS
        page.server.gui.add_markdown(f"Written to `{folder}`.")
        for label, icon, hint, export in (
            ("Long video", Icon.MOVIE, "The accepted segments of this branch.", export_video),
            ("Points (PLY)", Icon.CHART_DOTS_3, "All points of the memory.", export_points),
            ("nerfstudio", Icon.FOLDER, "Frames, cameras, depth and points.", export_nerfstudio),
            ("COLMAP", Icon.FOLDER, "Images and a model as text.", export_colmap),
            ("Static page", Icon.WORLD_WWW, "Opens without a server.", self._page),
        ):
            page.button(label, self._exporting(label, export), icon=icon, hint=hint)

    def refresh(self, memory: bool) -> None:
        """Shows the session's state, on which nothing here depends."""

    def _page(self, session: Session) -> Path:
        html = self.page.server.get_scene_serializer().as_html(dark_mode=True)
        return export_page(session, html)

    def _exporting(self, label: str, export: Callable[[Session], Path]) -> Callable[[Any], None]:
        def act(event: Any) -> None:
            client, session = event.client, self.page.session

            def work(job: Job) -> None:
                job.told(f"exporting: {label}", 0.1, until=1.0)
                path = export(session)
                self.page.tell("Exported", str(path), client=client)
                small = path.is_file() and path.stat().st_size <= LARGEST_SENT
                if small and client.client_id in self.page.server.get_clients():
                    client.send_file_download(path.name, path.read_bytes())

            session.work(f"exporting: {label}", work)

        return act

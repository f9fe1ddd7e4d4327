"""Draw: keyframes from views, text and files; speed, undo, and walk mode."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from viser import Icon

from anchorweave.geometry.cameras import Cameras
from inference.explorer import drawing
from inference.explorer.page.base import Section, Shared, look_through, view_of
from inference.explorer.page.keyframes import Keyframes
from inference.explorer.path_files import load_path, save_path, saved_paths, take_upload
from inference.explorer.state import Drawn

WORDS = (
    "orbit(degrees=30)",
    "pan(degrees=45)",
    "dolly(distance=0.5)",
    "spiral(turns=1)",
    "there_and_back(pan(degrees=60))",
    "static",
    "move_left:8, orient_right:8",
    "move_forward:8",
)
OWN, NONE = "(write your own)", "(none saved)"
# In walk mode a browser is first moved to the end of the path. Reports of its earlier views are
# ignored until it arrives, or until this timeout: a view that keeps moving never quite arrives.
ARRIVAL_SECONDS = 30.0
UNITS = ("recording", "scene")


class Draw(Section):
    """The Draw section; see `Shared` for the argument."""

    def __init__(self, page: Shared):
        self.page = page
        # Where a browser entering walk mode is sent, and until when its arrival is awaited.
        self._awaited: tuple[Cameras, float] | None = None
        gui = page.server.gui
        self.about = gui.add_markdown("")
        page.button(
            "Add keyframe",
            self._add,
            icon=Icon.CAMERA_PLUS,
            hint="Extends the path to your current view. Key: K",
            color="blue",
        )
        changes = {"Undo": self._undo, "Redo": self._redo, "Clear": self._clear}
        self.change = gui.add_button_group("Path", tuple(changes), hint="Keys: Z undo, Y redo.")
        self.change.on_click(page.guarded("Path", lambda event: changes[self.change.value](event)))
        self.speed = gui.add_slider(
            "Speed",
            0.25,
            4.0,
            0.25,
            1.0,
            hint="Keyboard steps per frame; one step is 0.03 scene units or 2 degrees.",
        )
        self.speed.on_update(page.guarded("Speed", self._set_speed))
        self.smooth = gui.add_checkbox(
            "Spline", True, hint="Smooth through the keyframes, or straight between them."
        )
        self.smooth.on_update(page.guarded("Spline", self._set_smooth))
        page.button(
            "Fly along it", self._fly, icon=Icon.PLAYER_PLAY, hint="Your view follows the path."
        )
        with gui.add_folder("One keyframe"):
            self.keyframes = Keyframes(page)
        with gui.add_folder("Walk"):
            gui.add_markdown(
                "W A S D move, Q E down and up, arrows turn. Walk mode extends the path."
            )
            self.walk = gui.add_checkbox(
                "Walk", False, hint="Starts at the end of the path, in this browser."
            )
            self.walk.on_update(page.guarded("Walk", self._set_walk))
        with gui.add_folder("Trajectory text"):
            self.preset = gui.add_dropdown("Preset", (OWN, *WORDS), initial_value=WORDS[0])
            self.words = gui.add_text(
                "Text",
                WORDS[0],
                hint="A preset takes one segment, a keyboard command its own number of steps.",
            )
            self.preset.on_update(page.guarded("Preset", self._set_words))
            page.button("Append", self._append, icon=Icon.PLUS)
        with gui.add_folder("Path files", expand_by_default=False):
            self.name = gui.add_text("Name", "path-1")
            page.button("Save", self._save, icon=Icon.DEVICE_FLOPPY)
            self.saved = gui.add_dropdown("Saved", (NONE,))
            self.unit = gui.add_dropdown(
                "Lengths in",
                UNITS,
                hint="Of the file: the recording's own unit (as saved here), or scene units.",
            )
            page.button("Append it", self._load, icon=Icon.FOLDER_OPEN)
            upload = gui.add_upload_button(
                "Upload a camera file", icon=Icon.UPLOAD, mime_type="text/plain"
            )
            upload.on_upload(page.guarded("Upload a camera file", self._upload))
        for key, label, act in (
            ("K", "Add keyframe", self._add),
            ("Z", "Undo", self._undo),
            ("Y", "Redo", self._redo),
        ):
            command = gui.add_command(label, hotkey=key)
            command.on_trigger(page.guarded(label, act))

    def refresh(self, memory: bool) -> None:
        """Shows the session's state; `memory` says whether the memory changed."""
        session, drawn = self.page.session, self.page.session.state.drawn
        self.speed.value, self.smooth.value = drawn.speed, drawn.smooth
        self.keyframes.refresh(memory)
        names = tuple(saved_paths(session.output)) or (NONE,)
        if tuple(self.saved.options) != names:
            self.saved.options = names
        if not len(session.bank):
            self.about.content = "There is nothing to start from: the memory is empty."
            return
        lines = [f"Starts at memory {session.start_number}, {len(drawn.keyframes)} keyframes"]
        if segments := session.segments():
            frames = segments * (session.config.frames - 1) + 1
            seconds = frames / session.config.fps
            plural = "" if segments == 1 else "s"
            lines.append(f"**{segments} segment{plural}**, {frames} frames, {seconds:.1f} s")
        else:
            lines.append("Move the view and add a keyframe.")
        if problem := session.problem():
            lines.append(f"**Invalid path**: {problem}")
        if self.page.walker is not None and self._awaited is None:
            lines.append("**Walking**: the path follows the view.")
        self.about.content = "  \n".join(lines)

    def _show(self) -> None:
        with self.page.refreshing:
            self.refresh(False)

    def stop_walking(self) -> None:
        """Leaves walk mode."""
        self.page.walker = None
        self.walk.value = False
        self._show()

    def stepped(self, client: Any) -> None:
        """Called when a browser's camera moves; in walk mode it extends the path."""
        if self.page.walker != client.client_id:
            return
        if self._awaited is not None and not self._arrived(client):
            return
        view, session = view_of(client), self.page.session
        session.draw(lambda drawn, start: drawing.walked(drawn, start, view, session.state.unit))

    def _arrived(self, client: Any) -> bool:
        """Whether the browser entering walk mode has reached the end of the path."""
        end, latest = self._awaited
        unit = self.page.session.state.unit
        # Close enough to add nothing to a path that ends there.
        far = drawing.walked(Drawn(), end, view_of(client), unit).keyframes
        if far and time.monotonic() < latest:
            return False
        self._awaited = None
        self._show()
        return True

    def _add(self, event: Any) -> None:
        view = view_of(event.client)
        self.page.session.draw(lambda drawn, start: drawing.with_view(drawn, view))

    def _undo(self, event: Any) -> None:
        self.page.session.undo()

    def _redo(self, event: Any) -> None:
        self.page.session.redo()

    def _clear(self, event: Any) -> None:
        self.page.session.draw(
            lambda drawn, start: Drawn(drawn.start, (), drawn.speed, drawn.smooth)
        )

    def _set_speed(self, event: Any) -> None:
        speed = self.speed.value
        if speed != self.page.session.state.drawn.speed:
            self.page.session.draw(lambda drawn, start: replace(drawn, speed=speed))

    def _set_smooth(self, event: Any) -> None:
        smooth = self.smooth.value
        if smooth != self.page.session.state.drawn.smooth:
            self.page.session.draw(lambda drawn, start: replace(drawn, smooth=smooth))

    def _set_walk(self, event: Any) -> None:
        if not self.walk.value:
            self.page.walker = None
            self._show()
            return
        if event.client is None:
            return
        session = self.page.session
        end = drawing.keyframe_cameras(session.state.drawn, session.start)[-1]
        self._awaited = end, time.monotonic() + ARRIVAL_SECONDS
        look_through(event.client, end)
        self.page.walker = event.client.client_id

    def _set_words(self, event: Any) -> None:
        if self.preset.value != OWN:
            self.words.value = self.preset.value

    def _append(self, event: Any) -> None:
        session, spec = self.page.session, self.words.value
        frames, unit = session.config.frames, session.state.unit
        session.draw(lambda drawn, start: drawing.with_words(drawn, spec, start, frames, unit))

    def _fly(self, event: Any) -> None:
        session = self.page.session
        for camera in session.path():
            if event.client.client_id not in self.page.server.get_clients():
                return
            look_through(event.client, camera)
            time.sleep(1 / session.config.fps)

    def _save(self, event: Any) -> None:
        session = self.page.session
        file = save_path(session.output, self.name.value, session.path(), session.config.fps)
        self._show()
        self.page.tell(
            "Saved",
            f"{file}; a rollout follows it with rollout.trajectory={file} rollout.unit=recording "
            f"rollout.segments={session.segments()}",
            client=event.client,
        )

    def _load(self, event: Any) -> None:
        session = self.page.session
        cameras = load_path(session.output, self.saved.value)
        unit = session.state.unit if self.unit.value == "scene" else 1.0
        session.draw(lambda drawn, start: drawing.with_cameras(drawn, cameras, start, unit))

    def _upload(self, event: Any) -> None:
        file = event.target.value
        name = take_upload(self.page.session.output, file.name, file.content)
        self._show()
        self.saved.value = name

"""Edits one keyframe of the path: select, drag, rotate, move to the current view, delete."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from viser import Icon, transforms

from anchorweave.geometry.cameras import Cameras
from inference.explorer import drawing
from inference.explorer.frusta import add_frustum, quaternion_of
from inference.explorer.page.base import Section, Shared, look_through, view_of
from inference.explorer.scene import KEY_SIZE

GIZMO, SHAPE = "/keyframe", "/keyframe/shape"
COLOUR = (255, 230, 90)
NONE = "none"
# Length of the gizmo's arrows relative to a memory's frustum.
ARROWS = 1.5
# Grabbing and releasing a gizmo moves it by less than this.
MOVED = 1e-5


class Keyframes(Section):
    """The Keyframes section; see `Shared` for the argument."""

    def __init__(self, page: Shared):
        self.page = page
        gui = page.server.gui
        gui.add_markdown(
            "Click on a white camera of the path, or select it here; drag its arrows to move it, "
            "its arcs to rotate it."
        )
        self.number = gui.add_dropdown("Keyframe", (NONE,))
        self.number.on_update(page.guarded("Keyframe", self._choose))
        self.look = page.button("Look from it", self._look, icon=Icon.EYE)
        self.move = page.button(
            "Move to current view",
            self._move_to_view,
            icon=Icon.CAMERA,
            hint="Moves the keyframe to where you look from.",
        )
        self.delete = page.button("Delete it", self._delete, icon=Icon.TRASH, color="red")
        self._gizmo: Any = None
        self._shown: int | None = None

    def refresh(self, memory: bool) -> None:
        """Shows the session's state; `memory` says whether the memory changed."""
        state, count = self.page.session.state, len(self.page.session.state.drawn.keyframes)
        options = (NONE, *(str(i + 1) for i in range(count)))
        if tuple(self.number.options) != options:
            self.number.options = options
        chosen = NONE if state.keyframe is None else str(state.keyframe + 1)
        if self.number.value != chosen:
            self.number.value = chosen
        self.look.disabled = state.keyframe is None
        self.move.disabled = self.delete.disabled = not self._may_change()
        self._show_gizmo()

    def _may_change(self) -> bool:
        session = self.page.session
        return (
            session.state.keyframe is not None
            and session.state.pending is None
            and not session.busy
            and len(session.bank) > 0
        )

    def _camera(self) -> Cameras:
        """The camera of the selected keyframe."""
        return self.page.scene.keyframes()[self._number()]

    def _show_gizmo(self) -> None:
        scene, number = self.page.server.scene, self.page.session.state.keyframe
        if self._gizmo is not None and (number != self._shown or not self._may_change()):
            self._gizmo.remove()
            self._gizmo = None
        if not self._may_change():
            return
        camera = self._camera()
        place, turn = camera.centres.double().numpy(), quaternion_of(camera.c2w)
        if self._gizmo is not None:
            if not np.allclose(self._gizmo.position, place, atol=0):
                self._gizmo.position = place
            self._gizmo.wxyz = turn
            return
        self._shown = number
        self._gizmo = scene.add_transform_controls(
            GIZMO,
            scale=ARROWS * self.page.scene.size,
            depth_test=False,
            position=place,
            wxyz=turn,
        )
        self._gizmo.on_update(self.page.guarded("Keyframe", self._dragged))
        # A child of the gizmo, so that it moves along.
        own = Cameras(torch.eye(4), camera.K, camera.size)
        add_frustum(scene, SHAPE, own, KEY_SIZE * self.page.scene.size, COLOUR, 2.5)

    def _pose(self) -> Float[Tensor, "4 4"]:
        """The pose of the gizmo, c2w."""
        c2w = torch.eye(4)
        c2w[:3, :3] = torch.from_numpy(transforms.SO3(self._gizmo.wxyz).as_matrix()).float()
        c2w[:3, 3] = torch.tensor(self._gizmo.position).float()
        return c2w

    def _dragged(self, event: Any) -> None:
        session = self.page.session
        # Events of one drag arrive concurrently in several threads.
        with self.page.refreshing:
            number = self._shown
            if self._gizmo is None or event.target is not self._gizmo or number is None:
                return
            pose = self._pose()
            if event.phase != "end":
                self._show_way(number, pose)
                return
            unmoved = torch.allclose(
                pose, self._camera().c2w, rtol=0, atol=MOVED * session.state.unit
            )
        if unmoved:
            return
        try:
            session.draw(lambda drawn, start: drawing.with_keyframe(drawn, number, pose))
        except ValueError:
            # Reset to the path's keyframe.
            with self.page.refreshing:
                self.refresh(False)
                self.page.scene.show_path()
            raise

    def _show_way(self, number: int, pose: Float[Tensor, "4 4"]) -> None:
        """Previews the path with the keyframe at this pose."""
        session = self.page.session
        moved = drawing.with_keyframe(session.state.drawn, number, pose)
        frames, unit = session.config.frames, session.state.unit
        self.page.scene.show_line(drawing.path_cameras(moved, session.start, frames, unit))

    def _choose(self, event: Any) -> None:
        chosen = None if self.number.value == NONE else int(self.number.value) - 1
        if event.client is not None and chosen != self.page.session.state.keyframe:
            self.page.session.choose(chosen)

    def _look(self, event: Any) -> None:
        look_through(event.client, self._camera())

    def _move_to_view(self, event: Any) -> None:
        number, view = self._number(), view_of(event.client)
        self.page.session.draw(lambda drawn, start: drawing.with_keyframe(drawn, number, view))

    def _delete(self, event: Any) -> None:
        number = self._number()
        self.page.session.draw(lambda drawn, start: drawing.without_keyframe(drawn, number))

    def _number(self) -> int:
        number = self.page.session.state.keyframe
        if number is None:
            raise ValueError("choose a keyframe first")
        return number

"""Edit: a box, placed manually or fitted to a rectangle, and operations on its contents."""

from __future__ import annotations

from typing import Any

import torch
from viser import Icon, transforms

from anchorweave.geometry.selection import Box, rotation
from anchorweave.memory.edits import Move, Recolour, Remove
from inference.explorer.editing import box_around, edit
from inference.explorer.page.base import Section, Shared, view_of

GIZMO, BOX, GHOST = "/edit/gizmo", "/edit/gizmo/box", "/edit/ghost"
COLOUR, GHOST_COLOUR = (255, 120, 90), (120, 220, 255)
NEW_SIZE = 0.3


class EditSection(Section):
    """The Edit section; see `Shared` for the argument."""

    def __init__(self, page: Shared):
        self.page = page
        gui = page.server.gui
        self.about = gui.add_markdown("")
        page.button(
            "Box around a rectangle",
            self._rectangle,
            icon=Icon.MARQUEE_2,
            hint="Then drag a rectangle over the scene: the box fits what memories saw there.",
            color="blue",
        )
        page.button(
            "Box ahead", self._ahead, icon=Icon.BOX, hint="A box in front of you, to be moved."
        )
        self.size = gui.add_vector3(
            "Size", (1.0, 1.0, 1.0), min=(1e-4,) * 3, step=0.01, hint="In the memory's unit."
        )
        self.yaw = gui.add_slider("Turn (degrees)", -180.0, 180.0, 1.0, 0.0)
        self.size.on_update(page.guarded("Size", lambda event: self._show()))
        self.yaw.on_update(page.guarded("Turn", lambda event: self._show()))
        self.remove = page.button(
            "Remove",
            self._remove,
            icon=Icon.ERASER,
            color="red",
            hint="Shows what other frames saw behind it.",
        )
        with gui.add_folder("Recolour"):
            self.colour = gui.add_rgb("Colour", (200, 60, 60))
            self.tints = gui.add_checkbox(
                "Tint", True, hint="Multiply by the colour, which keeps shading; or paint over."
            )
            self.recolour = page.button("Recolour", self._recolour, icon=Icon.BRUSH)
        with gui.add_folder("Move"):
            self.shift = gui.add_vector3(
                "By", (0.0, 0.0, 0.0), step=0.01, hint="In the memory's unit and axes."
            )
            self.turn = gui.add_slider("Turn by (degrees)", -180.0, 180.0, 1.0, 0.0)
            self.shift.on_update(page.guarded("By", lambda event: self._show()))
            self.turn.on_update(page.guarded("Turn by", lambda event: self._show()))
            self.move = page.button("Move", self._move, icon=Icon.ARROWS_MOVE)
        self.undo = page.button(
            "Undo the edit", self._undo, icon=Icon.ARROW_BACK_UP, hint="The branch is kept."
        )
        self._gizmo: Any = None

    @property
    def box(self) -> Box:
        """The current box.

        Raises:
            ValueError: there is none.
        """
        if self._gizmo is None:
            raise ValueError("make a box first: around a rectangle, or ahead of you")
        at = torch.tensor(self._gizmo.position) + torch.tensor(self._origin())
        x, y, z = at.tolist()
        w, h, d = (float(side) for side in self.size.value)
        return Box((x, y, z), (w, h, d), float(self.yaw.value))

    def refresh(self, memory: bool) -> None:
        """Shows the session's state; `memory` says whether the memory changed."""
        session = self.page.session
        editable = self._gizmo is not None and not session.busy and session.state.pending is None
        for button in (self.remove, self.recolour, self.move):
            button.disabled = not editable
        self.undo.disabled = session.busy or session.state.version.made != "edit"
        if session.state.pending is not None:
            said = "A segment is pending: accept or revert it before you edit."
        elif self._gizmo is None:
            said = "Select points with a box. An edit applies to every frame of the memory."
        else:
            said = "Drag the arrows to move the box; its contents are edited."
        self.about.content = said

    def _origin(self) -> tuple[float, float, float]:
        bank = self.page.session.bank
        return bank.cameras.origin if len(bank) else (0.0, 0.0, 0.0)

    def _rectangle(self, event: Any) -> None:
        client = event.client

        def drawn(selected: Any) -> None:
            client.scene.remove_rect_select_callback(act)
            view, camera = view_of(client), client.camera
            rectangle = (*selected.screen_min, *selected.screen_max)
            self._put(box_around(self.page.session, view, camera.fov, camera.aspect, rectangle))

        act = self.page.guarded("Box around a rectangle", drawn)
        client.scene.on_rect_select()(act)
        self.page.tell("Box", "Drag a rectangle over the target.", client=client)

    def _ahead(self, event: Any) -> None:
        view, unit = view_of(event.client), self.page.session.state.unit
        at = view[:3, 3] + 0.7 * unit * view[:3, 2] + torch.tensor(self._origin())
        x, y, z = at.tolist()
        self._put(Box((x, y, z), (NEW_SIZE * unit,) * 3))

    def _put(self, box: Box) -> None:
        scene = self.page.server.scene
        self.size.value, self.yaw.value = box.size, box.yaw
        if self._gizmo is not None:
            self._gizmo.remove()
        self._gizmo = scene.add_transform_controls(
            GIZMO,
            scale=0.2 * self.page.session.state.unit,
            disable_rotations=True,
            depth_test=False,
            position=box.about(self._origin()),
        )
        self._gizmo.on_update(lambda event: self._show_ghost())
        self._show()
        self.refresh(False)

    def _show(self) -> None:
        if self._gizmo is None:
            return
        turn = transforms.SO3.from_matrix(rotation(self.box.axis, self.box.yaw).double().numpy())
        looks = {"dimensions": self.box.size, "color": COLOUR, "wxyz": turn.wxyz}
        scene = self.page.server.scene
        scene.add_box(BOX, opacity=0.25, cast_shadow=False, receive_shadow=False, **looks)
        scene.add_box(f"{BOX}edges", wireframe=True, **looks)
        self._show_ghost()

    def _show_ghost(self) -> None:
        """Previews the result of a move."""
        scene = self.page.server.scene
        if self._gizmo is None or not (any(self.shift.value) or self.turn.value):
            scene.remove_by_name(GHOST)
            return
        box = self.box
        turn = rotation(box.axis, box.yaw + float(self.turn.value))
        at = torch.tensor(self._gizmo.position).float() + torch.tensor(self.shift.value)
        scene.add_box(
            GHOST,
            GHOST_COLOUR,
            box.size,
            wireframe=True,
            wxyz=transforms.SO3.from_matrix(turn.double().numpy()).wxyz,
            position=at.numpy(),
        )

    def _remove(self, event: Any) -> None:
        edit(self.page.session, Remove(box=self.box))

    def _recolour(self, event: Any) -> None:
        red, green, blue = (value / 255 for value in self.colour.value)
        if self.tints.value:
            edit(self.page.session, Recolour(box=self.box, tint=(red, green, blue)))
        else:
            edit(self.page.session, Recolour(box=self.box, colour=(red, green, blue)))

    def _move(self, event: Any) -> None:
        x, y, z = (float(value) for value in self.shift.value)
        turn = float(self.turn.value)
        edit(self.page.session, Move(box=self.box, translation=(x, y, z), degrees=turn))

    def _undo(self, event: Any) -> None:
        if self.page.session.state.version.made == "edit":
            self.page.session.revert()

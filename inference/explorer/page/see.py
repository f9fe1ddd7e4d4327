"""See: what is remembered, what one frame shows, and which memories have seen a point."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from viser import Icon

from anchorweave.memory import MEMORIES
from inference.explorer.frusta import add_frustum, camera_along, pixels
from inference.explorer.page.base import Section, Shared, look_through
from inference.explorer.scene import KEY_SIZE
from inference.explorer.sight import Sight

SELECTED, PLACE = "/memory/selected", "/memory/place"
SELECTED_COLOUR = (255, 230, 90)
BLANK = np.full((12, 18, 3), 45, np.uint8)
# Number of memories listed by name; the rest are only counted.
LISTED = 8


class See(Section):
    """The See section; see `Shared` for the argument."""

    def __init__(self, page: Shared):
        self.page = page
        gui, state = page.server.gui, page.session.state
        self.about = gui.add_markdown("")
        self.kind = gui.add_dropdown(
            "Memory system",
            tuple(MEMORIES),
            initial_value=state.kind,
            hint="Memory system: the same frames through each of the four systems.",
        )
        self.kind.on_update(page.guarded("Memory system", self._look_through))
        self.clouds = gui.add_checkbox(
            "Points", True, hint="Points of the memory; fewer per memory if there are many."
        )
        self.clouds.on_update(page.guarded("Points", self._show_clouds))
        with gui.add_folder("Selected frame"):
            self.selected = gui.add_markdown("Click on a camera in the scene.")
            self.picture = gui.add_image(BLANK, visible=False)
            self.through = page.button(
                "Look through it", self._go_there, icon=Icon.EYE, visible=False
            )
            self.begin = page.button(
                "Start the path here", self._begin, icon=Icon.MAP_PIN, visible=False
            )
        with gui.add_folder("Which memories saw this?"):
            self.sight = gui.add_markdown("Click anywhere in the scene.")
        page.server.scene.on_click()(page.guarded("Click", self._clicked))

    def refresh(self, memory: bool) -> None:
        """Shows the session's state; `memory` says whether the memory changed."""
        session, state = self.page.session, self.page.session.state
        bank, version = session.bank, session.state.version
        height, width = session.config.size
        count = f"**{len(bank):,} frames** of {width} x {height} remembered"
        if not len(bank):
            count = f"**Nothing is remembered** in `{bank.path}` yet: frames appear when added"
        self.about.content = (
            f"{count}  \nVersion {version.number}: {version.about}  \n"
            f"One scene unit is {state.unit:.3g} in the memory's unit"
        )
        self.kind.value = state.kind
        self.clouds.disabled = not session.memory.keeps_geometry
        if memory:
            self.sight.content = "Click anywhere in the scene."
            self.page.server.scene.remove_by_name(PLACE)
        self._show_selected()

    def _show_selected(self) -> None:
        session = self.page.session
        number, scene = session.state.selected, self.page.server.scene
        exists = number is not None and number < len(session.bank)
        for part in (self.picture, self.through, self.begin):
            part.visible = exists
        scene.remove_by_name(SELECTED)
        if not exists:
            self.selected.content = "Click on a camera in the scene."
            return
        frame = pixels(session.bank.frame(number))
        depth = session.bank.depth(number)
        share = float((depth > 0).float().mean())
        self.selected.content = (
            f"**Memory {number}**: {session.bank.names[number]}  \nDepth known at {share:.0%}"
        )
        self.picture.image = frame
        size = 1.6 * self.page.scene.size
        camera = session.bank.cameras[number]
        add_frustum(scene, SELECTED, camera, size, SELECTED_COLOUR, 2.5, frame)

    def _look_through(self, event: Any) -> None:
        session = self.page.session
        if self.kind.value == session.state.kind:
            return
        try:
            session.look_through(self.kind.value)
        finally:
            self.kind.value = session.state.kind

    def _show_clouds(self, event: Any) -> None:
        if self.page.scene.clouds_shown != self.clouds.value:
            self.page.scene.clouds_shown = self.clouds.value
            self.page.scene.show_memory()

    def _go_there(self, event: Any) -> None:
        session = self.page.session
        if session.state.selected is not None:
            look_through(event.client, session.bank.cameras[session.state.selected])

    def _begin(self, event: Any) -> None:
        session = self.page.session
        number = session.state.selected
        session.draw(lambda drawn, start: replace(drawn, start=number, keyframes=(), prompts=()))

    def _clicked(self, event: Any) -> None:
        session = self.page.session
        if not len(session.bank):
            self.sight.content = "Nothing is remembered yet."
            return
        origin = torch.tensor(event.ray_origin).float()
        direction = torch.nn.functional.normalize(torch.tensor(event.ray_direction).float(), dim=0)
        sight = session.look_along(origin, direction[None])
        if self._clicked_on_camera(origin, direction, sight):
            return
        scene = self.page.server.scene
        scene.remove_by_name(PLACE)
        self.sight.content = who_saw(sight, session.bank.names)
        if sight.met[0]:
            scene.add_icosphere(
                PLACE, 0.012 * session.state.unit, SELECTED_COLOUR, position=sight.points[0].numpy()
            )

    def _clicked_on_camera(
        self, origin: torch.Tensor, direction: torch.Tensor, sight: Sight
    ) -> bool:
        """Selects the camera under a click, unless a surface occludes it."""
        session, scene, reach = self.page.session, self.page.scene, torch.inf
        if sight.met[0]:
            reach = float((sight.points[0] - origin).norm())
        ray = (origin, direction, reach)
        memory = camera_along(session.bank.cameras, scene.size, *ray)
        numbers = scene.keyframes_shown()
        key = camera_along(scene.keyframes()[numbers], KEY_SIZE * scene.size, *ray)
        # Paths start among memories, so objects drawn over them take precedence.
        if key is not None and (memory is None or key[1] <= memory[1] + scene.size):
            session.choose(numbers[key[0]])
            return True
        if memory is not None:
            session.select(memory[0])
        return memory is not None


def who_saw(sight: Sight, names: tuple[str, ...]) -> str:
    """The memories that saw a point along one ray, as text.

    Args:
        sight: the result for one ray.
        names: names of the memories.
    """
    if not sight.met[0]:
        return "**Never seen.** No memory has a surface along this ray."
    numbers = sight.seen_by[0].nonzero().flatten().tolist()
    x, y, z = sight.points[0].tolist()
    listed = ", ".join(f"{i} ({names[i]})" for i in numbers[:LISTED])
    more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
    return (
        f"**Seen by {len(numbers)} of {len(names)}**: {listed}{more}  \n"
        f"at ({x:.3g}, {y:.3g}, {z:.3g})"
    )

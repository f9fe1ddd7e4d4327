"""The 3D scene: clouds with a level of detail, frusta, the path, the pending segment.

/memory/clouds/...   points of the memory, in parts, coarsest first
/memory/frusta       the cameras of all memories
/path/...            the path, its keyframes, the ends of its segments
/waiting/...         frames of the pending segment
/edit/...            the box of an edit
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import torch
import viser

from anchorweave.eight_bit import to_bytes, to_image
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import PointCloud
from inference.explorer.clouds import cloud_parts, evenly
from inference.explorer.drawing import keyframe_cameras
from inference.explorer.frusta import add_frustum, field_of_view, frustum_lines
from inference.explorer.generating import segment_clip
from inference.explorer.session import Session

CLOUDS, FRUSTA, LINE = "/memory/clouds", "/memory/frusta", "/path/line"
GREY, PATH, KEY, WAITING, START = (
    *((120, 124, 135), (90, 170, 255), (255, 255, 255)),
    *((255, 170, 60), (80, 220, 140)),
)
# Length of a keyframe's frustum relative to a memory's.
KEY_SIZE = 0.8
# Length of a frustum in scene units; smaller where memories are close together.
LARGEST, SMALLEST, OF_GAP = 0.12, 0.03, 1.5
# Thickness of lines, in pixels.
THIN, THICK = 1.2, 3.0
KEYFRAMES_SHOWN, WAITING_SHOWN = 40, 7


class Scene:
    """The scene that all browsers see.

    Args:
        server: the page's server.
        session: the exploration shown.
    """

    def __init__(self, server: viser.ViserServer, session: Session):
        self.server, self.session = server, session
        self.clouds_shown = True
        self._loading = 0
        self._lock = threading.Lock()
        self.place_camera()

    @property
    def size(self) -> float:
        """Length of a frustum, in the memory's unit."""
        unit, bank = self.session.state.unit, self.session.bank
        largest = LARGEST * unit
        if len(bank) < 2:
            return largest
        gaps = (bank.cameras.centres[1:] - bank.cameras.centres[:-1]).norm(dim=-1)
        return min(max(OF_GAP * float(gaps.median()), SMALLEST * unit), largest)

    def place_camera(self) -> None:
        """Sets the initial view of new browsers: behind the newest frame."""
        session = self.session
        if not len(session.bank):
            self.server.scene.set_up_direction((0.0, -1.0, 0.0))
            return
        cameras = session.bank.cameras
        up = -torch.nn.functional.normalize(cameras.c2w[:, :3, 1].mean(dim=0), dim=0)
        self.server.scene.set_up_direction(tuple(up.tolist()))
        newest, unit = cameras.c2w[-1], session.state.unit
        begin = self.server.initial_camera
        begin.position = (newest[:3, 3] - 0.45 * unit * newest[:3, 2] + 0.12 * unit * up).numpy()
        begin.look_at = (newest[:3, 3] + 0.6 * unit * newest[:3, 2]).numpy()
        begin.fov = field_of_view(cameras[-1])
        begin.near = 0.005 * unit

    def show_memory(self) -> None:
        """Redraws the clouds and frusta of the memory; clouds follow in the background."""
        self._show_frusta()
        with self._lock:
            self._loading += 1
            mine = self._loading
        threading.Thread(target=self._show_clouds, args=(mine,), daemon=True).start()

    def show_path(self) -> None:
        """Shows the drawn path, and the pending segment at its start."""
        scene, session = self.server.scene, self.session
        for name in ("/path", "/waiting"):
            scene.remove_by_name(name)
        if not len(session.bank):
            return
        state, size = session.state, self.size
        start = session.start
        add_frustum(scene, "/path/start", start, 1.15 * size, START, THICK)
        if state.drawn.keyframes:
            keys = self.keyframes()
            for i in self.keyframes_shown():
                add_frustum(scene, f"/path/key{i}", keys[int(i)], KEY_SIZE * size, KEY, THIN)
        # The Draw section explains why a path has no line.
        if state.drawn.keyframes and session.problem() is None:
            cameras = session.path()
            self.show_line(cameras)
            steps = session.config.frames - 1
            for number, i in enumerate(range(steps, len(cameras), steps), 1):
                add_frustum(scene, f"/path/end{number}", cameras[i], 1.1 * size, PATH, THICK)
                scene.add_label(
                    f"/path/end{number}/label",
                    f"end of segment {number}",
                    position=cameras.centres[i].numpy(),
                )
        if state.pending is not None:
            clip = segment_clip(session.output, state.pending)
            for i in evenly(len(clip), WAITING_SHOWN):
                frame = to_image(clip.frames[i])
                where = clip.cameras[i].about(session.bank.cameras.origin)
                add_frustum(scene, f"/waiting/{i}", where, 1.3 * size, WAITING, THIN, frame)

    def show_line(self, cameras: Cameras) -> None:
        """Shows the cameras [T] of a path, replacing the previous line."""
        points = cameras.centres.numpy()
        lines = np.stack([points[:-1], points[1:]], axis=1)
        self.server.scene.add_line_segments(
            LINE, lines, PATH, thickness=THICK, thickness_units="screen"
        )

    def keyframes(self) -> Cameras:
        """The cameras of the path's keyframes."""
        session = self.session
        return keyframe_cameras(session.state.drawn, session.start)[1:]

    def keyframes_shown(self) -> list[int]:
        """Numbers of the keyframes that are drawn."""
        numbers = evenly(len(self.session.state.drawn.keyframes), KEYFRAMES_SHOWN).tolist()
        chosen = self.session.state.keyframe
        return numbers if chosen is None or chosen in numbers else sorted([*numbers, chosen])

    def points_of(self, cloud: PointCloud) -> tuple[np.ndarray, np.ndarray]:
        """A cloud in viser's format: points, and colours 0..255."""
        return cloud.points.numpy(), to_bytes(cloud.colours).numpy()

    def _show_frusta(self) -> None:
        scene, bank = self.server.scene, self.session.bank
        scene.remove_by_name(FRUSTA)
        if len(bank):
            lines = frustum_lines(bank.cameras, self.size)
            scene.add_line_segments(FRUSTA, lines, GREY, thickness=THIN, thickness_units="screen")

    def _show_clouds(self, mine: int) -> None:
        session, scene = self.session, self.server.scene
        # Parts of another version are replaced one by one, to avoid flicker.
        drawn = 0
        parts: Iterator[PointCloud] = iter(())
        if self.clouds_shown:
            edge, most = session.config.memory.depth_edge, session.config.points
            parts = cloud_parts(session.memory, edge, most)
        for number, cloud in enumerate(parts):
            with self._lock:
                if mine != self._loading:
                    return
                points, colours = self.points_of(cloud)
                scene.add_point_cloud(
                    f"{CLOUDS}/{number:03d}",
                    points,
                    colours,
                    point_size=0.0035 * session.state.unit,
                    point_shape="circle",
                    point_shading="flat",
                    precision="float32",
                )
                drawn = number + 1
        with self._lock:
            if mine != self._loading:
                return
            while (old := scene.get_handle_by_name(f"{CLOUDS}/{drawn:03d}")) is not None:
                old.remove()
                drawn += 1

"""The scene on the page: clouds with a level of detail, frusta, the path, what is generated.

/memory/clouds/...   points of the memory, in parts, the coarsest first
/memory/frusta       the cameras of all memories
/path/...            the path, its keyframes, the ends of its segments
/waiting/...         frames of the segment that waits
/edit/...            the box that an edit is for
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import torch
import viser
from jaxtyping import Float, Int
from torch import Tensor
from viser import transforms

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import PointCloud, cloud_from_frame
from anchorweave.geometry.projection import unproject
from anchorweave.memory import Bank, Memory
from inference.explorer.drawing import keyframe_cameras
from inference.explorer.generating import segment_clip
from inference.explorer.session import Session

CLOUDS, FRUSTA = "/memory/clouds", "/memory/frusta"
# Memories whose pictures are decoded for their clouds; of more, so many evenly spread.
CLOUDS_SHOWN = 1_500
# Memories whose points are sent together.
PART = 25
FEWEST_POINTS = 60
GREY, PATH, KEY, WAITING, START = (
    *((120, 124, 135), (90, 170, 255), (255, 255, 255)),
    *((255, 170, 60), (80, 220, 140)),
)
# Length of a frustum in scene units; smaller where memories stand close together.
LARGEST, SMALLEST, OF_GAP = 0.12, 0.03, 1.5
# Thickness of lines, in pixels.
THIN, THICK = 1.2, 3.0
KEYFRAMES_SHOWN, WAITING_SHOWN = 40, 7


class Scene:
    """What all browsers see.

    Args:
        server: of the page.
        session: whose exploration is shown.
    """

    def __init__(self, server: viser.ViserServer, session: Session):
        self.server, self.session = server, session
        self.clouds_shown = True
        self._loading = 0
        self._lock = threading.Lock()
        self.place_camera()

    @property
    def size(self) -> float:
        """How long a frustum is drawn, in the memory's unit of length."""
        unit, bank = self.session.state.unit, self.session.bank
        largest = LARGEST * unit
        if len(bank) < 2:
            return largest
        gaps = (bank.cameras.centres[1:] - bank.cameras.centres[:-1]).norm(dim=-1)
        return min(max(OF_GAP * float(gaps.median()), SMALLEST * unit), largest)

    def place_camera(self) -> None:
        """Where a browser looks from when it opens the page: behind the newest frame."""
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
        """Show the clouds and frusta of the memory anew; clouds follow in the background."""
        self._show_frusta()
        with self._lock:
            self._loading += 1
            mine = self._loading
        threading.Thread(target=self._show_clouds, args=(mine,), daemon=True).start()

    def show_path(self) -> None:
        """Show the path as it is drawn, and what waits at its beginning."""
        scene, session = self.server.scene, self.session
        for name in ("/path", "/waiting"):
            scene.remove_by_name(name)
        if not len(session.bank):
            return
        state, size = session.state, self.size
        start = session.start
        add_frustum(scene, "/path/start", start, 1.15 * size, START, THICK)
        if state.drawn.keyframes:
            cameras = session.path()
            points = cameras.centres.numpy()
            lines = np.stack([points[:-1], points[1:]], axis=1)
            scene.add_line_segments(
                "/path/line", lines, PATH, thickness=THICK, thickness_units="screen"
            )
            keys = keyframe_cameras(state.drawn, start)[1:]
            for i in evenly(len(keys), KEYFRAMES_SHOWN):
                add_frustum(scene, f"/path/key{i}", keys[i], 0.8 * size, KEY, THIN)
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
                frame = pixels(clip.frames[i])
                where = clip.cameras[i].about(session.bank.cameras.origin)
                add_frustum(scene, f"/waiting/{i}", where, 1.3 * size, WAITING, THIN, frame)

    def points_of(self, cloud: PointCloud) -> tuple[np.ndarray, np.ndarray]:
        """A cloud as viser takes it: points, and colours 0..255."""
        return cloud.points.numpy(), (cloud.colours.clamp(0, 1) * 255).round().byte().numpy()

    def _show_frusta(self) -> None:
        scene, bank = self.server.scene, self.session.bank
        scene.remove_by_name(FRUSTA)
        if len(bank):
            lines = frustum_lines(bank.cameras, self.size)
            scene.add_line_segments(FRUSTA, lines, GREY, thickness=THIN, thickness_units="screen")

    def _show_clouds(self, mine: int) -> None:
        session, scene = self.session, self.server.scene
        # Parts of another version are replaced one by one, so that nothing flickers.
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


def cloud_parts(memory: Memory, depth_edge: float, points: int) -> Iterator[PointCloud]:
    """The points of a memory in parts, none of which is empty.

    A fused cloud is one part; of frames each gives its share, and those of a part are spread over
    the whole walk: the scene is there early, and fills up.

    Args:
        memory: any system; one that keeps no geometry has no parts.
        depth_edge: see `Bank.clean_depth`.
        points: at most about so many in all.
    """
    fused = getattr(memory, "cloud", None)
    if not memory.keeps_geometry or not len(memory):
        return
    if isinstance(fused, PointCloud):
        if len(fused):
            yield fused[torch.from_numpy(evenly(len(fused), points))]
        return
    taken = evenly(len(memory), CLOUDS_SHOWN)
    share = max(points // len(taken), FEWEST_POINTS)
    order = np.concatenate([taken[offset::PART] for offset in range(min(PART, len(taken)))])
    for begin in range(0, len(order), PART):
        part = [int(i) for i in order[begin : begin + PART]]
        clouds = [small_cloud(memory.bank, i, depth_edge, share) for i in part]
        cloud = PointCloud(
            torch.cat([c.points for c in clouds]), torch.cat([c.colours for c in clouds])
        )
        if len(cloud):
            yield cloud


def small_cloud(bank: Bank, number: int, edge: float, points: int) -> PointCloud:
    """The cloud of one memory with about so many points, evenly taken from its picture.

    Args:
        bank: of the memory.
        number: of the memory.
        edge: see `Bank.clean_depth`.
        points: how many.
    """
    frame, depth = bank.frame(number), bank.clean_depth(number, edge)
    step = max(int((depth.numel() / points) ** 0.5 + 0.999), 1)
    kept = torch.zeros_like(depth)
    # Another corner of the grid for each memory: together they fill each other's gaps.
    row, column = number % step, (number // step) % step
    kept[row::step, column::step] = depth[row::step, column::step]
    return cloud_from_frame(frame, kept, bank.cameras[number])


def field_of_view(camera: Cameras) -> float:
    """The vertical field of view of one camera, in radians."""
    return 2 * float(torch.atan(camera.size[0] / 2 / camera.K[1, 1]))


def frustum_lines(cameras: Cameras, size: float) -> Float[np.ndarray, "lines 2 3"]:
    """The edges of the frusta of M cameras, 8 each.

    Args:
        cameras: [M].
        size: depth of their far ends.
    """
    M = len(cameras)
    corner = cameras.resized((2, 2))
    far = unproject(torch.full((M, 2, 2), size), corner)
    # Centres of 2 x 2 pixels lie half way out: the image's corners are twice as far.
    middle = far.mean(dim=(1, 2), keepdim=True)
    corners = (middle + 2 * (far - middle)).reshape(M, 4, 3)[:, [0, 1, 3, 2]]
    apex = cameras.centres[:, None].expand(M, 4, 3)
    sides = torch.stack([apex, corners], dim=2)
    ring = torch.stack([corners, corners.roll(-1, dims=1)], dim=2)
    return torch.cat([sides, ring], dim=1).reshape(-1, 2, 3).numpy()


def add_frustum(
    scene: viser.SceneApi,
    name: str,
    camera: Cameras,
    size: float,
    colour: tuple[int, int, int],
    thickness: float,
    image: np.ndarray | None = None,
) -> None:
    """Show one camera, with its picture where there is one.

    Args:
        scene: of the page, or of one browser.
        name: of the node.
        camera: c2w [4, 4].
        size: depth of its far end.
        colour: of its edges.
        thickness: of its edges, in pixels.
        image: [H, W, 3] of bytes.
    """
    scene.add_line_segments(
        name,
        frustum_lines(camera[None], size),
        colour,
        thickness=thickness,
        thickness_units="screen",
    )
    if image is not None:
        height = camera.size[0] / float(camera.K[1, 1]) * size
        width = camera.size[1] / float(camera.K[0, 0]) * size
        at = camera.c2w[:3, 3] + size * camera.c2w[:3, 2]
        scene.add_image(
            f"{name}/picture",
            image,
            render_width=width,
            render_height=height,
            wxyz=quaternion_of(camera.c2w),
            position=at.numpy(),
        )


def quaternion_of(c2w: Float[Tensor, "4 4"]) -> np.ndarray:
    """w, x, y, z of a camera's rotation."""
    return transforms.SO3.from_matrix(c2w[:3, :3].double().numpy()).wxyz


def pixels(frame: Float[Tensor, "3 H W"]) -> np.ndarray:
    """A frame as bytes [H, W, 3]."""
    return (frame.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


def evenly(count: int, most: int) -> Int[np.ndarray, " n"]:
    """At most `most` of 0..count-1, evenly spread."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))

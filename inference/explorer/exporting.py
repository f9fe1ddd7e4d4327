"""Exports of an exploration, into OUTPUT/exports.

walk.mp4        the accepted segments of the branch, concatenated
memory.ply      the points of the memory
nerfstudio/     its frames, cameras, depth and points, in nerfstudio's format
colmap/         images, and a model in COLMAP's text format
scene.html      the scene and the path, a page that opens without a server
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anchorweave.eight_bit import to_bytes
from anchorweave.files import atomic_write, write_json
from anchorweave.geometry.point_cloud import PointCloud, save_ply
from anchorweave.memory import Bank, GlobalCloud
from anchorweave.progress import progress
from anchorweave.recordings.nerfstudio import TRANSFORMS, frame_entry
from anchorweave.video import write_video
from inference.explorer.generating import segment_clip
from inference.explorer.places import EXPORTS
from inference.explorer.session import Session
from inference.explorer.versions import version_path

VIDEO, POINTS, NERFSTUDIO, COLMAP, PAGE = (
    *("walk.mp4", "memory.ply", "nerfstudio", "colmap"),
    "scene.html",
)
# Number of points in a COLMAP model, which tools use for initialisation.
COLMAP_POINTS = 100_000


def export_video(session: Session) -> Path:
    """Write the long video of the branch.

    Raises:
        ValueError: no segment was accepted on this branch.
    """
    frames = list(_branch_frames(session))
    if not frames:
        raise ValueError("no segment was accepted on this branch, so there is no video of it")
    path = _place(session) / VIDEO
    write_video(path, torch.cat(frames), session.config.fps)
    return path


def export_points(session: Session) -> Path:
    """Write the points of the memory as a PLY.

    Raises:
        ValueError: the memory is empty, or holds no depth.
    """
    path = _place(session) / POINTS
    save_ply(_points(session), path, session.bank.cameras.origin)
    return path


def export_nerfstudio(session: Session) -> Path:
    """Writes the memory's frames as a folder that nerfstudio and this project can read.

    Raises:
        ValueError: the memory is empty.
    """
    bank, path = _bank(session), _place(session) / NERFSTUDIO
    with atomic_write(_free(path)) as aside:
        entries = []
        for i in progress(range(len(bank)), "writing frames"):
            image, depth = f"images/{i:06d}.png", f"depth/{i:06d}.png"
            for name in (image, depth):
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                # Copies, because other tools may overwrite their files.
                shutil.copyfile(bank.path / name, aside / name)
            entries.append(frame_entry(bank.cameras[i], image, depth))
        meta = {"depth_unit_scale_factor": bank.depth_unit, "frames": entries}
        if _has_depth(bank):
            meta["ply_file_path"] = "points.ply"
            save_ply(_points(session), aside / "points.ply", bank.cameras.origin)
        write_json(meta, aside / TRANSFORMS)
    return path


def export_colmap(session: Session) -> Path:
    """Writes the memory's frames, cameras and points as a COLMAP project in text format.

    Points have no tracks, because no features were matched.

    Raises:
        ValueError: the memory is empty.

    Source: https://colmap.github.io/format.html
    """
    bank, path = _bank(session), _place(session) / COLMAP
    with atomic_write(_free(path)) as aside:
        (aside / "images").mkdir(parents=True)
        model = aside / "sparse" / "0"
        model.mkdir(parents=True)
        height, width = bank.cameras.size
        lenses: dict[tuple[float, ...], int] = {}
        images = []
        w2c = torch.linalg.inv(bank.cameras.recorded_c2w)
        for i in progress(range(len(bank)), "writing frames"):
            name = f"{i:06d}.png"
            shutil.copyfile(bank.path / "images" / name, aside / "images" / name)
            K = bank.cameras.K[i].double()
            lens = (float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))
            camera = lenses.setdefault(lens, len(lenses) + 1)
            pose = [*quaternion(w2c[i, :3, :3]), *w2c[i, :3, 3].tolist()]
            # An image's second line lists its features, which are empty here.
            images.append(f"{i + 1} {' '.join(map(repr, pose))} {camera} {name}\n\n")
        cameras = [
            f"{number} PINHOLE {width} {height} {' '.join(map(repr, lens))}\n"
            for lens, number in lenses.items()
        ]
        (model / "cameras.txt").write_text("".join(cameras))
        (model / "images.txt").write_text("".join(images))
        (model / "points3D.txt").write_text("".join(_point_lines(session)))
    return path


def export_page(session: Session, page: str) -> Path:
    """Writes a static page of the scene.

    Args:
        session: the exploration.
        page: its HTML.
    """
    path = _place(session) / PAGE
    with atomic_write(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def quaternion(rotation: Tensor) -> list[float]:
    """w, x, y, z of a rotation [3, 3], with w >= 0."""
    m = rotation.double()
    # The eigenvector of the largest eigenvalue of this matrix, for any rotation (Bar-Itzhack 2000).
    xx, yy, zz = m[0, 0], m[1, 1], m[2, 2]
    table = torch.stack(
        [
            torch.stack([xx - yy - zz, m[1, 0] + m[0, 1], m[2, 0] + m[0, 2], m[2, 1] - m[1, 2]]),
            torch.stack([m[1, 0] + m[0, 1], yy - xx - zz, m[2, 1] + m[1, 2], m[0, 2] - m[2, 0]]),
            torch.stack([m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], zz - xx - yy, m[1, 0] - m[0, 1]]),
            torch.stack([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], xx + yy + zz]),
        ]
    )
    x, y, z, w = torch.linalg.eigh(table / 3).eigenvectors[:, -1].tolist()
    sign = 1.0 if w >= 0 else -1.0
    return [sign * w, sign * x, sign * y, sign * z]


def _branch_frames(session: Session) -> Iterator[Tensor]:
    state, end = session.state, None
    for version in state.branch:
        if version.segment is None:
            continue
        made = state.segments[version.segment]
        before = Bank(version_path(session.output, state, made.version))
        start = made.drawn.start
        start = len(before) - 1 if start is None else start
        if (made.version, start) != end:
            yield before.frame(start)[None]
        clip = segment_clip(session.output, made.number)
        yield clip.frames
        end = (version.number, len(before) + len(clip) - 1)


def _place(session: Session) -> Path:
    folder = session.output / EXPORTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _free(path: Path) -> Path:
    """The path of an export, after deleting a previous one."""
    if path.exists():
        shutil.rmtree(path)
    return path


def _bank(session: Session) -> Bank:
    if not len(session.bank):
        raise ValueError(f"the memory {session.bank.path} is empty: there is nothing to export")
    return session.bank


def _has_depth(bank: Bank) -> bool:
    return any(bool(bank.depth(i).any()) for i in range(len(bank)))


def _points(session: Session) -> PointCloud:
    bank = _bank(session)
    config = replace(session.config.memory, kind="global_cloud")
    cloud = GlobalCloud(bank, config).cloud
    if not len(cloud):
        raise ValueError(f"the memory {bank.path} holds no depth, so it has no points")
    return cloud


def _point_lines(session: Session) -> Iterator[str]:
    if not _has_depth(session.bank):
        return
    cloud = _points(session)
    taken = np.unique(np.linspace(0, len(cloud) - 1, COLMAP_POINTS).astype(int))
    cloud = cloud[torch.from_numpy(taken)]
    points = cloud.points.double().numpy() + np.array(session.bank.cameras.origin)
    colours = to_bytes(cloud.colours).tolist()
    for i, ((x, y, z), (r, g, b)) in enumerate(zip(points.tolist(), colours, strict=True)):
        yield f"{i + 1} {x!r} {y!r} {z!r} {r} {g} {b} 0\n"

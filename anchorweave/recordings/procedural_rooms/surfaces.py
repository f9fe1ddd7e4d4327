"""Textured triangle meshes built from boxes, cylinders and ellipsoids."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

ROUND_SEGMENTS = 20
# Sphere poles and cone tips make degenerate triangles (twice the area, in square metres).
NO_AREA = 1e-10
SHEET_UV = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
# The two triangles of a quad, whose corners go around it.
SHEET = np.array([[0, 1, 2], [0, 2, 3]])


@dataclass
class Surfaces:
    """Triangles with everything that shading needs; metres, z up.

    Args:
        corners: positions, a list of [F, 3, 3] (triangle, corner, xyz).
        normals: unit normals at the corners, likewise.
        uv: texture coordinates in repeats, a list of [F, 3, 2]; v runs down the texture.
        materials: a list of [F], the index of each triangle's texture.
    """

    corners: list[np.ndarray] = field(default_factory=list)
    normals: list[np.ndarray] = field(default_factory=list)
    uv: list[np.ndarray] = field(default_factory=list)
    materials: list[np.ndarray] = field(default_factory=list)

    def grid(self, points, normals, uv, material: int) -> None:
        """A sheet of quads from grids of points, normals [R, C, 3] and uv [R, C, 2]."""
        of = _triangles_of_grid(*points.shape[:2])
        corners = points.reshape(-1, 3)[of]
        ux, uy, uz = (corners[:, 1] - corners[:, 0]).T
        vx, vy, vz = (corners[:, 2] - corners[:, 0]).T
        squared = (uy * vz - uz * vy) ** 2 + (uz * vx - ux * vz) ** 2 + (ux * vy - uy * vx) ** 2
        solid = squared > NO_AREA**2
        self.corners.append(corners[solid])
        self.normals.append(normals.reshape(-1, 3)[of][solid])
        self.uv.append(uv.reshape(-1, 2)[of][solid])
        self.materials.append(np.full(int(solid.sum()), material))

    def sheet(self, origin, along, down, material: int, repeat: float | None = 1.0) -> None:
        """A parallelogram from its top left corner and two edges, seen from the outside.

        Args:
            origin: top left corner.
            along: edge to the right, u.
            down: edge downwards, v.
            material: index of the texture.
            repeat: metres per repeat of the texture; None lays it out exactly once.
        """
        origin, along, down = (np.asarray(x, dtype=float) for x in (origin, along, down))
        points = np.array([origin, origin + along, origin + (along + down), origin + down])
        (ax, ay, az), (dx, dy, dz) = along.tolist(), down.tolist()
        normal = np.array([dy * az - dz * ay, dz * ax - dx * az, dx * ay - dy * ax])
        uv = SHEET_UV
        if repeat is not None:
            uv = uv * (np.sqrt([along @ along, down @ down]) / repeat)
            # Neighbouring parts show different parts of the same wood.
            uv = uv + np.array([origin @ [0.37, 0.71, 0.53], origin @ [0.61, 0.29, 0.83]])
        self.corners.append(points[SHEET])
        self.normals.append(np.empty((2, 3, 3)))
        self.normals[-1][:] = normal / np.sqrt(normal @ normal)
        self.uv.append(uv[SHEET])
        self.materials.append(np.full(2, material))

    def box(self, low, high, material: int, repeat: float = 1.0, front: int | None = None) -> None:
        """An axis-aligned box; `front` is laid out once on its +y face, if given."""
        x0, y0, z0 = low
        x1, y1, z1 = high
        w, d, h = x1 - x0, y1 - y0, z1 - z0
        front_repeat = repeat if front is None else None
        self.sheet(
            (x1, y1, z1), (-w, 0, 0), (0, 0, -h), material if front is None else front, front_repeat
        )
        self.sheet((x0, y0, z1), (w, 0, 0), (0, 0, -h), material, repeat)
        self.sheet((x0, y1, z1), (0, -d, 0), (0, 0, -h), material, repeat)
        self.sheet((x1, y0, z1), (0, d, 0), (0, 0, -h), material, repeat)
        self.sheet((x0, y1, z1), (w, 0, 0), (0, -d, 0), material, repeat)
        self.sheet((x0, y0, z0), (w, 0, 0), (0, d, 0), material, repeat)

    def cylinder(self, base, radius, height, material: int, top_radius=None, repeat=1.0) -> None:
        """An upright cylinder or cone with lids, standing on the point `base`."""
        top_radius = radius if top_radius is None else top_radius
        angle = np.linspace(0, 2 * np.pi, ROUND_SEGMENTS + 1)
        ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
        base, up = np.asarray(base, dtype=float), np.array([0.0, 0.0, height])
        rows = [base + up, base + up + top_radius * ring, base + radius * ring, base]
        slope = np.array([0, 0, (radius - top_radius) / height])
        side = (ring + slope) / np.linalg.norm(ring + slope, axis=1, keepdims=True)
        u = angle * max(radius, top_radius) / repeat
        for upper, lower, normal, length in (
            (rows[0], rows[1], np.array([0.0, 0, 1]), top_radius),
            (rows[1], rows[2], side, height),
            (rows[2], rows[3], np.array([0.0, 0, -1]), radius),
        ):
            points = np.stack(
                [np.broadcast_to(upper, ring.shape), np.broadcast_to(lower, ring.shape)]
            )
            v = np.broadcast_to(np.array([[0.0], [length / repeat]]), (2, len(u)))
            uv = np.stack([np.broadcast_to(u, v.shape), v], axis=-1)
            self.grid(points, np.broadcast_to(normal, points.shape), uv, material)

    def ellipsoid(self, centre, radii, material: int, repeat: float = 1.0) -> None:
        """An ellipsoid with the axes `radii` along x, y, z."""
        radii = np.asarray(radii, dtype=float)
        ball, turns = _unit_ball()
        normals = ball / radii
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        uv = turns * radii.max() / repeat
        self.grid(np.asarray(centre) + ball * radii, normals, uv, material)

    def place(self, other: Surfaces, position, quarter_turns: int = 0) -> None:
        """Adds the triangles of `other`, rotated by quarter turns about z, at `position`."""
        c, s = np.cos(quarter_turns * np.pi / 2), np.sin(quarter_turns * np.pi / 2)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        self.corners.append(np.concatenate(other.corners) @ turn.T + np.asarray(position))
        self.normals.append(np.concatenate(other.normals) @ turn.T)
        self.uv += other.uv
        self.materials += other.materials


@lru_cache
def _unit_ball() -> tuple[np.ndarray, np.ndarray]:
    """Points on the unit sphere, from pole to pole, and their angles: about z, and from +z."""
    tilt, angle = np.meshgrid(
        np.linspace(0, np.pi, ROUND_SEGMENTS // 2 + 1),
        np.linspace(0, 2 * np.pi, ROUND_SEGMENTS + 1),
        indexing="ij",
    )
    ball = np.stack(
        [np.sin(tilt) * np.cos(angle), np.sin(tilt) * np.sin(angle), np.cos(tilt)], axis=-1
    )
    return ball, np.stack([angle, tilt], axis=-1)


@lru_cache
def _triangles_of_grid(rows: int, columns: int) -> np.ndarray:
    """Corner indices [F, 3] of two triangles per quad, in a row-major grid."""
    at = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]
    return np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3)

"""Colours of the points that rays hit in a room: texture, lamp with shadow, windows, ambient light.

All light is diffuse, so a point looks the same from everywhere, as photo-consistency assumes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from einops import reduce

from anchorweave.recordings.rooms import Room

# Shares of light; the lamp's falls off with distance and is cut by shadows.
AMBIENT, UPWARD, LAMP = 0.42, 0.12, 0.75
LAMP_FALL_OFF = 0.05
# Four points on the lamp, one for each ray of a pixel, soften the shadows' edges.
LAMP_CORNERS = 0.12 * np.array([[1, 1, 0], [-1, 1, 0], [1, -1, 0], [-1, -1, 0]])
GAMMA = 2.2
# A broad stain over every repeat keeps tiled patterns from looking alike in two places.
STAIN = 0.16
STAIN_WAVES = np.array([[2.0, 0.6], [0.8, 2.0], [1.6, 1.8]], dtype=np.float32)


@dataclass(frozen=True)
class Hits:
    """What P rays met: depth [P] (infinite = nothing), triangle [P], barycentric u, v [P, 2]."""

    depth: np.ndarray
    triangle: np.ndarray
    barycentric: np.ndarray


class Shader:
    """Turns hits in one room into colours.

    Args:
        room: triangles and textures.
        blocked: whether anything stands between points [P, 3] and points [P, 3].
    """

    def __init__(self, room: Room, blocked: Callable[[np.ndarray, np.ndarray], np.ndarray]):
        surfaces = room.surfaces
        self._normals = np.concatenate(surfaces.normals).astype(np.float32)
        self._uv = np.concatenate(surfaces.uv).astype(np.float32)
        self._material = np.concatenate(surfaces.materials)
        self._texels_a_metre = _texel_density(surfaces, room.textures.shape[1])
        self._levels = [room.textures]
        while self._levels[-1].shape[1] > 1:
            finer = self._levels[-1]
            self._levels.append(reduce(finer, "M (v a) (u b) C -> M v u C", "mean", a=2, b=2))
        self._glowing, self._lamp, self._blocked = room.glowing, room.lamp, blocked

    def colours(self, rays: np.ndarray, hits: Hits, pixel: float, corner: np.ndarray) -> np.ndarray:
        """Colours [P, 3] in [0, 1], float32.

        Args:
            rays: origins and directions [P, 6], directions one unit of depth long.
            hits: what they met.
            pixel: width of a pixel at depth 1.
            corner: which of the lamp's four points lights each ray [P], 0..3.
        """
        out = np.zeros((len(rays), 3), dtype=np.float32)
        met = np.isfinite(hits.depth)
        origins, directions, depth = rays[met, :3], rays[met, 3:], hits.depth[met, None]
        triangle, (b, c) = hits.triangle[met], hits.barycentric[met].T[..., None]
        normal = _blend(self._normals[triangle], b, c)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        facing = -(normal * directions).sum(1, keepdims=True)
        normal *= np.sign(facing)
        points = origins + directions * depth
        slant = np.abs(facing[:, 0]) / np.linalg.norm(directions, axis=1)
        # A pixel covers more texels of a slanted surface; the root is between both axes.
        footprint = depth[:, 0] * pixel / np.sqrt(np.maximum(slant, 0.05))
        level = np.log2(np.maximum(footprint * self._texels_a_metre[triangle], 1e-6))
        material = self._material[triangle]
        albedo = self._sampled(material, _blend(self._uv[triangle], b, c), level)
        stain = np.sin(points @ STAIN_WAVES).prod(axis=1, keepdims=True)
        albedo *= 1 + STAIN * stain
        light = np.where(
            self._glowing[material, None], 1.0, self._light(points, normal, corner[met])
        )
        out[met] = np.clip(albedo**GAMMA * light, 0, 1) ** (1 / GAMMA)
        return out

    def _light(self, points: np.ndarray, normal: np.ndarray, corner: np.ndarray) -> np.ndarray:
        """Light that falls on the points [P, 1], 1 = a white surface looks white."""
        lamp = (self._lamp + LAMP_CORNERS)[corner].astype(np.float32)
        towards = lamp - points
        distance = np.linalg.norm(towards, axis=1, keepdims=True)
        lambert = np.maximum((normal * towards).sum(1, keepdims=True) / distance, 0)
        lit = ~self._blocked(points + 2e-3 * normal, lamp)[:, None]
        direct = LAMP * lit * lambert / (1 + LAMP_FALL_OFF * distance**2)
        return AMBIENT + UPWARD * normal[:, 2:] + direct

    def _sampled(self, material: np.ndarray, uv: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Texture colours [P, 3], blended between the two levels of detail next to `level` [P]."""
        level = np.clip(level, 0, len(self._levels) - 1.001)
        fine = level.astype(int)
        coarse_share = (level - fine)[:, None]
        colours = np.zeros((len(uv), 3), dtype=np.float32)
        for i, texture in enumerate(self._levels):
            for mine, share in ((fine == i, 1 - coarse_share), (fine == i - 1, coarse_share)):
                if mine.any():
                    colours[mine] += share[mine] * _bilinear(texture, material[mine], uv[mine])
        return colours


def _blend(corners: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return corners[:, 0] * (1 - b - c) + corners[:, 1] * b + corners[:, 2] * c


def _bilinear(texture: np.ndarray, material: np.ndarray, uv: np.ndarray) -> np.ndarray:
    side = texture.shape[1]
    at = uv * side - 0.5
    low = np.floor(at)
    (fu, fv), (u0, v0) = (at - low).T[..., None], low.astype(np.int64).T % side
    u1, v1 = (u0 + 1) % side, (v0 + 1) % side
    upper = texture[material, v0, u0] * (1 - fu) + texture[material, v0, u1] * fu
    lower = texture[material, v1, u0] * (1 - fu) + texture[material, v1, u1] * fu
    return upper * (1 - fv) + lower * fv


def _texel_density(surfaces, side: int) -> np.ndarray:
    """Texels per metre of every triangle [F], from its area in both spaces."""
    corners, uv = np.concatenate(surfaces.corners), np.concatenate(surfaces.uv)
    edges, uv_edges = corners[:, 1:] - corners[:, :1], uv[:, 1:] - uv[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    uv_area = np.abs(uv_edges[:, 0, 0] * uv_edges[:, 1, 1] - uv_edges[:, 0, 1] * uv_edges[:, 1, 0])
    return side * np.sqrt(uv_area / area)

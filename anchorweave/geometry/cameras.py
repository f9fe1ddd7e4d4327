"""Posed pinhole cameras, and THE camera convention of this project.

* OpenCV axes: x right, y down, z forward.
* `c2w` maps camera to world; lengths are in the recording's own unit (metres when metric).
* Other transforms are named from2to: `w2c`, `target2source = source_w2c @ target_c2w`.
* `K` is in pixels of its image, whose `size` (height, width) is stored with it.
* Pixel (u, v) has its centre at (u + 0.5, v + 0.5).

Readers convert to this at the file boundary (`anchorweave/recordings/`); nothing converts later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

# Poses of real recordings are rounded when written; 7-Scenes keeps about 1e-4.
RIGID_TOLERANCE = 5e-3
# Lenses and crops shift the principal point. If it is off-centre by more than this fraction of the
# half size, and by the same factor in x and y, K belongs to another resolution.
OFF_CENTRE, SAME_FACTOR = 0.2, 0.05


@dataclass(frozen=True)
class Cameras:
    """One or many cameras that share an image size; indexing and slicing act on the batch axes.

    Args:
        c2w: camera-to-world transforms [..., 4, 4], rigid, float.
        K: intrinsics [..., 3, 3] in pixels of an image of `size`.
        size: (height, width) of that image in pixels.
        origin: origin of this world in the recording's own coordinates. Non-zero only for
            recordings whose coordinates (UTM, earth-centred) are too large for float32; readers
            subtract it in float64, and `recorded_c2w` adds it back.
    """

    c2w: Float[Tensor, "*batch 4 4"]
    K: Float[Tensor, "*batch 3 3"]
    size: tuple[int, int]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def recorded_c2w(self) -> Float[Tensor, "*batch 4 4"]:
        """Camera-to-world transforms [..., 4, 4] in the recording's own coordinates, float64."""
        c2w = self.c2w.double()
        c2w[..., :3, 3] += c2w.new_tensor(self.origin)
        return c2w

    def about(self, origin: tuple[float, float, float]) -> Cameras:
        """The same cameras in a world with a different origin.

        Args:
            origin: the new origin, in the recording's coordinates.
        """
        if origin == self.origin:
            return self
        c2w = self.recorded_c2w
        c2w[..., :3, 3] -= c2w.new_tensor(origin)
        return replace(self, c2w=c2w.to(self.c2w), origin=origin)

    @property
    def w2c(self) -> Float[Tensor, "*batch 4 4"]:
        """World-to-camera transforms [..., 4, 4]."""
        return inverse_rigid(self.c2w)

    @property
    def centres(self) -> Float[Tensor, "*batch 3"]:
        """Optical centres in the world [..., 3]."""
        return self.c2w[..., :3, 3]

    def __len__(self) -> int:
        return len(self.c2w)

    def __getitem__(self, index) -> Cameras:
        return replace(self, c2w=self.c2w[index], K=self.K[index])

    def __iter__(self) -> Iterator[Cameras]:
        return (self[i] for i in range(len(self)))

    def to(self, *args, **kwargs) -> Cameras:
        """The same cameras on another device or in another dtype (arguments of `Tensor.to`)."""
        return replace(self, c2w=self.c2w.to(*args, **kwargs), K=self.K.to(*args, **kwargs))

    def relative_to(self, source: Cameras) -> Float[Tensor, "*batch 4 4"]:
        """target2source [..., 4, 4]: the poses of these (target) cameras relative to `source`."""
        return source.w2c @ self.about(source.origin).c2w

    def resized(self, size: tuple[int, int]) -> Cameras:
        """The cameras of the same images resized to `size` (height, width)."""
        scale = self.K.new_tensor([size[1] / self.size[1], size[0] / self.size[0], 1.0])
        return replace(self, K=scale[:, None] * self.K, size=tuple(size))

    def cropped(self, top: int, left: int, size: tuple[int, int]) -> Cameras:
        """The cameras of the window of `size` (height, width) whose first pixel is (top, left)."""
        K = self.K.clone()
        K[..., 0, 2] -= left
        K[..., 1, 2] -= top
        return replace(self, K=K, size=tuple(size))

    def at(self, times: Float[Tensor, " S"]) -> Cameras:
        """Cameras between these [T], at fractional frame `times` in [0, T - 1].

        Rotations are interpolated on the sphere, centres and intrinsics along straight lines.

        Raises:
            ValueError: a time outside [0, T - 1].
        """
        if times.numel() and (times.min() < 0 or times.max() > len(self) - 1):
            raise ValueError(
                f"times span [{times.min():g}, {times.max():g}], but {len(self)} cameras "
                f"can be interpolated in [0, {len(self) - 1}] only"
            )
        before = times.floor().long().clamp(max=max(len(self) - 2, 0))
        after = (before + 1).clamp(max=len(self) - 1)
        weight = (times - before).to(self.c2w)
        c2w = self.c2w[before].clone()
        c2w[:, :3, :3] = slerp(self.c2w[before, :3, :3], self.c2w[after, :3, :3], weight)
        c2w[:, :3, 3] = torch.lerp(self.centres[before], self.centres[after], weight[:, None])
        K = torch.lerp(self.K[before], self.K[after], weight[:, None, None])
        return replace(self, c2w=c2w, K=K)

    def validated(self, where: str, names: Sequence[str] | None = None) -> Cameras:
        """These cameras, after a check that every pose is rigid and every K fits the image.

        Args:
            where: the file or object the cameras come from, for error messages.
            names: camera names; None = their indices.

        Raises:
            ValueError: on the first invalid camera; the message says what is wrong and how to fix
                it.
        """
        c2w, K = self.c2w.reshape(-1, 4, 4), self.K.reshape(-1, 3, 3)
        for i in _suspects(c2w.double(), K, self.size):
            if problem := _pose_problem(c2w[i].double()) or intrinsics_problem(K[i], self.size):
                name = f"camera {i}" if names is None else names[i]
                raise ValueError(f"{where}: {name} {problem}")
        return self


def join_cameras(parts: Sequence[Cameras]) -> Cameras:
    """Concatenates the cameras of `parts` along the first axis, in the world of the first part.

    Raises:
        ValueError: no parts, or parts with different image sizes.
    """
    sizes = sorted({part.size for part in parts})
    if len(sizes) != 1:
        raise ValueError(f"cameras to join must share one image size, got {sizes or 'none'}")
    parts = [part.about(parts[0].origin) for part in parts]
    c2w, K = torch.cat([part.c2w for part in parts]), torch.cat([part.K for part in parts])
    return replace(parts[0], c2w=c2w, K=K)


def intrinsics(
    fx: float, fy: float, cx: float, cy: float, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "3 3"]:
    """K [3, 3] from focal lengths and principal point, all in pixels."""
    return torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]], dtype=dtype)


def inverse_rigid(transform: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Inverse of rigid transforms [..., 4, 4], without the rounding of a general inverse."""
    rotation = transform[..., :3, :3].mT
    inverse = torch.zeros_like(transform)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3:] = -rotation @ transform[..., :3, 3:]
    inverse[..., 3, 3] = 1.0
    return inverse


def pose_matrix(
    quaternion: Float[Tensor, "*batch 4"], position: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """Rigid transforms [..., 4, 4] from quaternions (x y z w, any non-zero length) and shifts.

    A zero quaternion gives NaN, which pose validation reports.
    """
    x, y, z, w = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    pose = torch.eye(4, dtype=position.dtype).expand(*position.shape[:-1], 4, 4).clone()
    pose[..., :3, :3] = _rotation(torch.stack([w, x, y, z], dim=-1))
    pose[..., :3, 3] = position
    return pose


def rotation_angle(
    a: Float[Tensor, "*#batch 3 3"], b: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Angle in radians [0, pi] of the rotation from `a` to `b`."""
    relative = a.mT @ b
    # atan2 of both parts keeps small angles accurate; arccos of the trace loses half the digits.
    axis = torch.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        dim=-1,
    )
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(axis.norm(dim=-1), trace - 1.0)


def slerp(
    a: Float[Tensor, "*#batch 3 3"],
    b: Float[Tensor, "*#batch 3 3"],
    weight: Float[Tensor, "*#batch"],
) -> Float[Tensor, "*batch 3 3"]:
    """Spherical interpolation from `a` (weight 0) to `b` (weight 1)."""
    qa, qb = _quaternion(a), _quaternion(b)
    dot = (qa * qb).sum(-1, keepdim=True)
    qb = torch.where(dot < 0, -qb, qb)
    dot = dot.abs().clamp(max=1.0)
    angle = torch.arccos(dot)
    weight = weight[..., None]
    near = angle < 1e-4
    sine = torch.where(near, torch.ones_like(angle), torch.sin(angle))
    from_a = torch.where(near, 1 - weight, torch.sin((1 - weight) * angle) / sine)
    from_b = torch.where(near, weight, torch.sin(weight * angle) / sine)
    return _rotation(torch.nn.functional.normalize(from_a * qa + from_b * qb, dim=-1))


def _quaternion(rotation: Tensor) -> Tensor:
    """Unit quaternions (w, x, y, z) [..., 4], computed from the largest component for accuracy."""
    m = rotation
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    yz_zy, zx_xz, xy_yx = (
        m[..., 2, 1] - m[..., 1, 2],
        m[..., 0, 2] - m[..., 2, 0],
        m[..., 1, 0] - m[..., 0, 1],
    )
    xy, xz, yz = (
        m[..., 0, 1] + m[..., 1, 0],
        m[..., 0, 2] + m[..., 2, 0],
        m[..., 1, 2] + m[..., 2, 1],
    )
    # Row i is the quaternion times 4 times its own component i: four equivalent results.
    rows = torch.stack(
        [
            torch.stack([1 + xx + yy + zz, yz_zy, zx_xz, xy_yx], dim=-1),
            torch.stack([yz_zy, 1 + xx - yy - zz, xy, xz], dim=-1),
            torch.stack([zx_xz, xy, 1 - xx + yy - zz, yz], dim=-1),
            torch.stack([xy_yx, xz, yz, 1 - xx - yy + zz], dim=-1),
        ],
        dim=-2,
    )
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    row = torch.take_along_dim(rows, best[..., None, None], dim=-2).squeeze(-2)
    return torch.nn.functional.normalize(row, dim=-1)


def _rotation(quaternion: Tensor) -> Tensor:
    """Rotations [..., 3, 3] from unit quaternions (w, x, y, z)."""
    w, x, y, z = quaternion.unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _suspects(c2w: Tensor, K: Tensor, size: tuple[int, int]) -> list[int]:
    """Indices of the M cameras that may be invalid, found in one vectorized pass."""
    if not len(c2w):
        return []
    rotation = c2w[:, :3, :3]
    error = (rotation.mT @ rotation - torch.eye(3).to(c2w)).abs().amax(dim=(1, 2))
    level = (c2w[:, 3] == c2w.new_tensor([0.0, 0.0, 0.0, 1.0])).all(dim=1)
    # Comparisons with NaN are false.
    rigid = (error <= RIGID_TOLERANCE) & (torch.linalg.det(rotation) >= 0) & level
    rigid &= c2w.isfinite().flatten(1).all(dim=1)
    different, which = K.unique(dim=0, return_inverse=True)
    fits = torch.tensor([intrinsics_problem(one_K, size) is None for one_K in different])
    return (~(rigid.cpu() & fits[which.cpu()])).nonzero().flatten().tolist()


def _pose_problem(c2w: Tensor) -> str | None:
    c2w = c2w.cpu()
    if not torch.isfinite(c2w).all():
        return "has a pose with NaN or infinite entries; drop the frame or estimate its pose again"
    rotation = c2w[:3, :3]
    error = (rotation.mT @ rotation - torch.eye(3, dtype=c2w.dtype)).abs().max().item()
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=c2w.dtype)
    if error > RIGID_TOLERANCE or torch.det(rotation) < 0 or not torch.equal(c2w[3], bottom):
        return (
            f"has a pose that is not rigid (orthonormality error {error:.2g}, determinant "
            f"{torch.det(rotation).item():.3g}, last row {c2w[3].tolist()}); "
            "expected camera-to-world [R t; 0 0 0 1] without scale or mirroring"
        )
    return None


def intrinsics_problem(K: Float[Tensor, "3 3"], size: tuple[int, int]) -> str | None:
    """Why `K` cannot belong to an image of `size` (height, width); None if it can."""
    height, width = size
    if not torch.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        return f"has intrinsics {K.tolist()} without positive finite focal lengths"
    if not torch.equal(K[2].cpu(), torch.tensor([0.0, 0.0, 1.0], dtype=K.dtype)):
        return f"has intrinsics whose last row is {K[2].tolist()}, expected 0 0 1"
    fx, fy, cx, cy = K[0, 0].item(), K[1, 1].item(), K[0, 2].item(), K[1, 2].item()
    x, y = 2 * cx / width, 2 * cy / height
    # A focal length far below the image size means a normalised K, or a K of another image.
    why = ""
    if not (0 < cx < width and 0 < cy < height):
        why = ", whose principal point lies outside it"
    elif abs(x - 1) > OFF_CENTRE and abs(x / y - 1) < SAME_FACTOR:
        why = f", as for an image of about {2 * cy:.0f}x{2 * cx:.0f} would be"
    elif _near(2 * cx / height) and _near(2 * cy / width) and not _near(x):
        why = ", as for the image rotated by 90 degrees"
    if why or fx < 0.05 * width or fy < 0.05 * height:
        return (
            f"has a K that does not fit its image of {height}x{width} (height x width){why}: "
            f"fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g}; "
            "K must be in pixels of this image (rescale it when the image is resized)"
        )
    return None


def _near(factor: float) -> bool:
    return abs(factor - 1) < SAME_FACTOR

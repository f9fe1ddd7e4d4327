"""Post-processing of a COLMAP model: interpolated frames, origin, scale, size, statistics.

worker.py, a standalone script, imports this, so only numpy and pycolmap may be imported here.
"""

from typing import Any

import numpy as np
import pycolmap


def interpolate(model, order: list[str]) -> None:
    """Places frames between two keyframes on the path between them, in even steps."""
    placed = {image.name: image for image in model.images.values() if image.has_pose}
    camera = next(iter(placed.values())).camera_id
    positions = [i for i, name in enumerate(order) if name in placed]
    poses = {i: placed[order[i]].cam_from_world() for i in positions}
    number = max(model.images)
    for left, right in zip(positions, positions[1:], strict=False):
        for i in range(left + 1, right):
            number += 1
            share = (i - left) / (right - left)
            pose = pycolmap.interpolate_camera_poses(poses[left], poses[right], share)
            image = pycolmap.Image(name=order[i], camera_id=camera, image_id=number)
            model.add_image_with_trivial_frame(image, pose)


def normalise(model, order: list[str]) -> None:
    """Moves the origin to the first camera, and scales the median point to 3 units of depth.

    Structure from motion leaves the gauge (origin, rotation, scale) free; this makes a room roughly
    metric.
    """
    placed = {image.name: image for image in model.images.values() if image.has_pose}
    first = placed[next(name for name in order if name in placed)].cam_from_world()
    depths = []
    for image in placed.values():
        seen = [model.points3D[p.point3D_id].xyz for p in image.points2D if p.has_point3D()]
        if seen:
            depths.append(float(np.median((world2camera(image) @ homogeneous(seen))[2])))
    scale = 3 / float(np.median(depths)) if depths else 1.0
    rotation, translation = first.rotation, np.array(first.translation)
    model.transform(pycolmap.Sim3d(scale, rotation, scale * translation))


def resize(model, size: list[int]) -> None:
    """Converts cameras and observations from the processed images to the stored ones."""
    height, width = size
    scale = [(width / c.width, height / c.height) for c in model.cameras.values()][0]
    if scale == (1.0, 1.0):
        return
    for camera in model.cameras.values():
        camera.rescale(width, height)
    for image in model.images.values():
        for point in image.points2D:
            point.xy = np.array(point.xy) * scale


def world2camera(image) -> np.ndarray:
    """World-to-camera [3, 4] of an image."""
    return np.array(image.cam_from_world().matrix())


def homogeneous(points: list) -> np.ndarray:
    """Points [4, N]."""
    return np.concatenate([np.array(points).T, np.ones((1, len(points)))])


def numbers(model) -> dict[str, Any]:
    """Statistics of the model."""
    angles = []
    centres = {
        number: np.array(image.projection_center())
        for number, image in model.images.items()
        if image.has_pose
    }
    for point in model.points3D.values():
        rays = [centres[e.image_id] - point.xyz for e in point.track.elements]
        rays = np.stack(rays) / np.linalg.norm(rays, axis=1, keepdims=True)
        angles.append(float(np.degrees(np.arccos(np.clip((rays @ rays.T).min(), -1, 1)))))
    camera = next(iter(model.cameras.values()))
    return {
        "registered": names_in(model),
        "points": model.num_points3D(),
        "error": model.compute_mean_reprojection_error() if model.num_points3D() else None,
        "parallax": float(np.median(angles)) if angles else 0.0,
        "camera": [camera.model_name, list(camera.params)],
    }


def names_in(model) -> list[str]:
    """Names of the registered images."""
    return sorted(image.name for image in model.images.values() if image.has_pose)

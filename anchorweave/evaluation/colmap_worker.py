"""Subprocess that runs COLMAP on a folder of images, isolated from the rest of the project.

    python colmap_worker.py FOLDER

In one process with other packages, pycolmap picks up incompatible versions of its libraries (zlib,
image readers) and loses images, or crashes. So this imports only pycolmap and numpy.

Reads FOLDER/options.json and FOLDER/images, named by frame number. Writes FOLDER/found.json, lists
with null where nothing could be estimated: `c2w` [3, 4] of each frame, and `turns` [3, 3], the
rotation next2this, of each pair of consecutive frames; and `read`, the number of images that could
be read.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap


def main(folder: str) -> None:
    """Extracts features, matches them, and reconstructs the scene."""
    # COLMAP logs every step; failures raise or are counted.
    pycolmap.logging.minloglevel = 3
    place = Path(folder)
    options = json.loads((place / "options.json").read_text())
    images, database, models = place / "images", place / "database.db", place / "models"
    models.mkdir()
    results: dict[str, Any] = {"read": extract(images, database, options["pinholes"])}
    match(database, options)
    results["turns"] = neighbours(database, options["frames"])
    results["c2w"] = register(images, database, models, options)
    (place / "found.json").write_text(json.dumps(results))


def extract(images: Path, database: Path, pinholes: dict[str, list[str]]) -> int:
    """Extracts features; `pinholes` lists the images per pinhole. Returns how many were read."""
    options = pycolmap.FeatureExtractionOptions(num_threads=1, use_gpu=False)
    for pinhole, names in pinholes.items():
        pycolmap.extract_features(
            database,
            images,
            names,
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=pycolmap.ImageReaderOptions(
                camera_model="PINHOLE", camera_params=pinhole
            ),
            extraction_options=options,
            device=pycolmap.Device.cpu,
        )
    with pycolmap.Database.open(database) as opened:
        return opened.num_images()


def match(database: Path, options: dict[str, Any]) -> None:
    """Matches each frame with the `overlap` following ones."""
    pycolmap.set_random_seed(options["seed"])
    verification = pycolmap.TwoViewGeometryOptions(
        compute_relative_pose=True, detect_watermark=False
    )
    verification.ransac.random_seed = options["seed"]
    pycolmap.match_sequential(
        database,
        pycolmap.FeatureMatchingOptions(num_threads=1, use_gpu=False),
        pairing_options=pycolmap.SequentialPairingOptions(
            overlap=options["overlap"], num_threads=1
        ),
        verification_options=verification,
        device=pycolmap.Device.cpu,
    )


def neighbours(path: Path, count: int) -> list:
    """The rotations between consecutive frames."""
    turns: list = [None] * (count - 1)
    with pycolmap.Database.open(path) as database:
        frames = {image.image_id: frame_of(image.name) for image in database.read_all_images()}
        pairs, geometries = database.read_two_view_geometries()
        for pair, geometry in zip(pairs, geometries, strict=True):
            one, other = (frames[image] for image in pycolmap.pair_id_to_image_pair(pair))
            if abs(one - other) == 1 and geometry.cam2_from_cam1 is not None:
                # one2other; next2this is its inverse if the first of the two comes first.
                rotation = np.array(geometry.cam2_from_cam1.rotation.matrix())
                turns[min(one, other)] = (rotation.T if one < other else rotation).tolist()
    return turns


def register(images: Path, database: Path, models: Path, options: dict[str, Any]) -> list:
    """Cameras of the frames; from the largest model if there are several disconnected ones."""
    models_by_id = pycolmap.incremental_mapping(database, images, models, mapping(options))
    largest = max(models_by_id.values(), key=lambda model: model.num_reg_images(), default=None)
    c2w: list = [None] * options["frames"]
    for image in largest.images.values() if largest is not None else ():
        if image.has_pose:
            c2w[frame_of(image.name)] = image.cam_from_world().inverse().matrix().tolist()
    return c2w


def mapping(options: dict[str, Any]) -> pycolmap.IncrementalPipelineOptions:
    """Mapper options: one thread, a fixed seed, fixed intrinsics, registration thresholds."""
    chosen = pycolmap.IncrementalPipelineOptions(
        num_threads=1,
        random_seed=options["seed"],
        min_model_size=3,
        extract_colors=False,
        ba_refine_focal_length=False,
        ba_refine_extra_params=False,
    )
    chosen.mapper.num_threads = 1
    chosen.mapper.random_seed = chosen.triangulation.random_seed = options["seed"]
    chosen.mapper.init_min_tri_angle = options["min_triangulation_degrees"]
    chosen.mapper.init_min_num_inliers = options["min_init_inliers"]
    chosen.mapper.abs_pose_min_num_inliers = options["min_pose_inliers"]
    chosen.mapper.abs_pose_refine_focal_length = False
    chosen.mapper.abs_pose_refine_extra_params = False
    return chosen


def frame_of(name: str) -> int:
    """The number of the frame that an image file shows."""
    return int(Path(name).stem)


if __name__ == "__main__":
    main(*sys.argv[1:])

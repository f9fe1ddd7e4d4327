"""Subprocess that runs COLMAP on a folder of images, isolated from the rest of the project.

    python worker.py FOLDER

In one process with other packages, pycolmap picks up incompatible versions of its libraries (zlib,
image readers) and loses images, or crashes. So this imports only pycolmap, numpy and
sibling files with the same restriction.

Reads FOLDER/options.json and FOLDER/seen. Writes the largest model, if any, to FOLDER/sparse/0, and
the report's numbers to FOLDER/found.json. Prints its progress to stdout, one line `STAGE DONE
TOTAL` per step.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

# Sibling files, because this runs as a script: importing the package would load the other
# libraries.
from likeness import likeness
from placed_model import interpolate, names_in, normalise, numbers, resize
from turns import turning_share

# Images read at a time; progress is printed after each batch.
LOT = 4
# The largest features of an image; COLMAP's default of 8192 matches four times as slowly.
FEATURES = 4096
# Pairs matched at a time.
PAIRS = 50
# Minimum matches to distinguish rotation from translation.
TELLING = 30


def main(folder: str) -> None:
    """Extracts features, matches them, and reconstructs the scene."""
    # COLMAP logs every step; failures raise or are counted.
    pycolmap.logging.minloglevel = 3
    place = Path(folder)
    options = json.loads((place / "options.json").read_text())
    pycolmap.set_random_seed(options["seed"])
    keys, between = options["keyframes"], options["between"]
    extract(place, options, keys, "features")
    results = {"features": feature_counts(place, keys)}
    match(place, pairs_of(place, options), "matching")
    results |= motion(place, options)
    model, pieces = reconstruct(place, options)
    results["pieces"] = pieces
    results["keyframes"] = [] if model is None else names_in(model)
    if model is not None:
        if options["mode"] == "register" and between:
            model = register(place, options, model)
        elif options["mode"] == "interpolate":
            interpolate(model, options["order"])
        normalise(model, options["order"])
        resize(model, options["size"])
        called = dict(zip(options["order"], options["names"], strict=True))
        for image in model.images.values():
            image.name = called[image.name]
        (place / "sparse" / "0").mkdir(parents=True)
        model.write_binary(place / "sparse" / "0")
        results |= numbers(model)
    (place / "found.json").write_text(json.dumps(results))


def tell(stage: str, done: int, total: int) -> None:
    """Prints progress, for the parent process."""
    print(stage, done, total, flush=True)


def extract(place: Path, options: dict[str, Any], names: list[str], stage: str) -> None:
    """Extracts features; all images share one camera."""
    extraction = pycolmap.FeatureExtractionOptions(
        use_gpu=False, max_image_size=options["feature_side"], num_threads=options["threads"]
    )
    extraction.sift.max_num_features = FEATURES
    reader = pycolmap.ImageReaderOptions(camera_model=options["camera_model"])
    if options["camera_params"]:
        reader.camera_params = options["camera_params"]
    for start in range(0, len(names), LOT):
        tell(stage, start, len(names))
        if (camera := camera_there(place)) is not None:
            reader.existing_camera_id = camera
        pycolmap.extract_features(
            place / "database.db",
            place / "seen",
            names[start : start + LOT],
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reader,
            extraction_options=extraction,
            device=pycolmap.Device.cpu,
        )


def camera_there(place: Path) -> int | None:
    """The one camera in the database; None before the first image is read."""
    if not (place / "database.db").exists():
        return None
    with pycolmap.Database.open(place / "database.db") as database:
        cameras = database.read_all_cameras()
    return cameras[0].camera_id if cameras else None


def feature_counts(place: Path, names: list[str]) -> list[int]:
    """Number of features in each image; 0 for images that could not be read."""
    with pycolmap.Database.open(place / "database.db") as database:
        ids = ids_by_name(database)
        return [database.num_keypoints_for_image(ids[n]) if n in ids else 0 for n in names]


def ids_by_name(database: pycolmap.Database) -> dict[str, int]:
    """Database ids of the images by name."""
    return {image.name: image.image_id for image in database.read_all_images()}


def pairs_of(place: Path, options: dict[str, Any]) -> list[tuple[str, str]]:
    """Pairs of keyframes to match: neighbours, more distant ones, and similar-looking ones."""
    keys, count = options["keyframes"], len(options["keyframes"])
    if count <= options["exhaustive"]:
        return [(keys[i], keys[j]) for i in range(count) for j in range(i + 1, count)]
    steps = {*range(1, options["overlap"] + 1), *(2**k for k in range(1, options["overlap"]))}
    pairs = {(i, i + step) for i in range(count) for step in steps if i + step < count}
    if options["loops"]:
        with pycolmap.Database.open(place / "database.db") as database:
            ids = ids_by_name(database)
            read = [database.read_descriptors(ids[name]).data for name in keys]
        alike = likeness([np.array(descriptors, dtype=np.float32) for descriptors in read])
        for i in range(count):
            near = np.abs(np.arange(count) - i) <= options["overlap"]
            order = np.argsort(-np.where(near, -np.inf, alike[i]))[: options["loops"]]
            pairs |= {(min(i, int(j)), max(i, int(j))) for j in order if not near[j]}
    return [(keys[i], keys[j]) for i, j in sorted(pairs)]


def match(place: Path, pairs: list[tuple[str, str]], stage: str) -> None:
    """Matches pairs of images, and verifies the matches geometrically."""
    verification = pycolmap.TwoViewGeometryOptions(detect_watermark=False)
    verification.ransac.random_seed = 0
    for start in range(0, len(pairs), PAIRS):
        tell(stage, start, len(pairs))
        listed = place / "pairs.txt"
        listed.write_text("\n".join(" ".join(p) for p in pairs[start : start + PAIRS]))
        pycolmap.match_image_pairs(
            place / "database.db",
            pycolmap.FeatureMatchingOptions(use_gpu=False),
            pycolmap.ImportedPairingOptions(match_list_path=listed),
            verification,
            device=pycolmap.Device.cpu,
        )


def motion(place: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The camera's motion between pairs of keyframes.

    `linked`: fraction of keyframes with enough matches to any other. `shift`: image motion of their
    matches, relative to the image size, as the median over the widest pair of each keyframe.
    `turns`: fraction of these pairs explained by a pure rotation, with the focal length that
    explains most.
    """
    keys = options["keyframes"]
    widest: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}
    linked = set()
    with pycolmap.Database.open(place / "database.db") as database:
        ids = ids_by_name(database)
        position = {ids[name]: i for i, name in enumerate(keys) if name in ids}
        points = {i: np.array(database.read_keypoints(i))[:, :2] for i in position}
        pairs, geometries = database.read_two_view_geometries()
        for pair, geometry in zip(pairs, geometries, strict=True):
            one, other = pycolmap.pair_id_to_image_pair(pair)
            matches = np.array(geometry.inlier_matches)
            if len(matches) < TELLING:
                continue
            linked |= {one, other}
            i, gap = min(position[one], position[other]), abs(position[one] - position[other])
            if gap > widest.get(i, (0,))[0]:
                widest[i] = (gap, points[one][matches[:, 0]], points[other][matches[:, 1]])
    if not widest:
        return {"linked": 0.0, "shift": 0.0, "turns": 0.0}
    size, middle = options["side"], np.array(options["middle"])
    scaled = [((a - middle) / size, (b - middle) / size) for _, a, b in widest.values()]
    shift = float(np.median([np.median(np.linalg.norm(a - b, axis=1)) for a, b in scaled]))
    return {"linked": len(linked) / len(keys), "shift": shift, "turns": turning_share(scaled)}


def reconstruct(place: Path, options: dict[str, Any]):
    """The largest model of the keyframes, or None, and the number of images in each model."""
    (place / "models").mkdir()
    total = len(options["keyframes"])
    if options["mapper"] == "global":
        tell("placing", 0, total)
        chosen = pycolmap.GlobalPipelineOptions(random_seed=options["seed"], num_threads=1)
        mapped = pycolmap.global_mapping(
            place / "database.db", place / "seen", place / "models", chosen
        )
    else:
        done = iter(range(2, 10**9))
        mapped = pycolmap.incremental_mapping(
            place / "database.db",
            place / "seen",
            place / "models",
            mapping(options),
            next_image_callback=lambda: tell("placing", min(next(done), total), total),
        )
    models = sorted(mapped.values(), key=lambda model: -model.num_reg_images())
    return (models[0] if models else None), [model.num_reg_images() for model in models]


def mapping(options: dict[str, Any]) -> pycolmap.IncrementalPipelineOptions:
    """Mapper options: one thread and a fixed seed, so that results are deterministic."""
    chosen = pycolmap.IncrementalPipelineOptions(
        num_threads=1, random_seed=options["seed"], min_model_size=3, extract_colors=False
    )
    chosen.mapper.num_threads = 1
    # COLMAP's defaults, 100 and 30, suit photographs; small video frames have fewer matches.
    chosen.mapper.init_min_num_inliers, chosen.mapper.abs_pose_min_num_inliers = 50, 20
    chosen.mapper.random_seed = chosen.triangulation.random_seed = options["seed"]
    if options["fixed"]:
        chosen.ba_refine_focal_length = chosen.ba_refine_extra_params = False
        chosen.mapper.abs_pose_refine_focal_length = False
        chosen.mapper.abs_pose_refine_extra_params = False
    return chosen


def register(place: Path, options: dict[str, Any], model):
    """The model extended by the frames between keyframes, each registered by its matches."""
    order, keys = options["order"], set(names_in(model))
    place_of = {name: i for i, name in enumerate(order)}
    extract(place, options, options["between"], "features between")
    positions = [i for i, name in enumerate(order) if name in keys]
    pairs = set()
    for name in options["between"]:
        at = place_of[name]
        nearest = sorted(positions, key=lambda i: abs(i - at))[:4]
        pairs |= {(order[min(i, at)], order[max(i, at)]) for i in nearest}
    match(place, sorted(pairs), "matching between")
    (place / "keys").mkdir()
    model.write_binary(place / "keys")
    chosen = mapping(options | {"fixed": True})
    # Keyframes stay fixed; frames in between are registered against them.
    chosen.fix_existing_frames = chosen.mapper.fix_existing_frames = True
    chosen.multiple_models = False
    done, total = iter(range(10**9)), len(options["between"])
    (place / "all").mkdir()
    models = pycolmap.incremental_mapping(
        place / "database.db",
        place / "seen",
        place / "all",
        chosen,
        input_path=place / "keys",
        next_image_callback=lambda: tell("placing between", min(next(done), total), total),
    )
    grown = max(models.values(), key=lambda one: one.num_reg_images(), default=model)
    return grown if grown.num_reg_images() >= model.num_reg_images() else model


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(*sys.argv[1:])

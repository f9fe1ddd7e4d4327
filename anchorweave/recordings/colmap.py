"""COLMAP models: known for what they are, and how to convert them."""

from __future__ import annotations

from pathlib import Path

MODEL_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "dense/sparse", ".")


def is_colmap(folder: Path) -> bool:
    """Whether `folder` is a COLMAP model, or holds one where COLMAP's projects have it."""
    return _model(folder) is not None


def refused_colmap(folder: Path) -> ValueError:
    """The error that says how the COLMAP model in `folder` becomes a recording."""
    return ValueError(
        f"{folder}: is a COLMAP project (model in {_model(folder)}), which is not read; convert it "
        "to a transforms.json, with nerfstudio (`ns-process-data images --data IMAGES --output-dir "
        "OUT --skip-colmap --colmap-model-path MODEL`, the model's path relative to OUT) or with "
        "instant-ngp's colmap2nerf.py, and open that"
    )


def _model(folder: Path) -> Path | None:
    for name in MODEL_FOLDERS:
        for suffix in ("txt", "bin"):
            if all(
                (folder / name / f"{part}.{suffix}").is_file() for part in ("cameras", "images")
            ):
                return folder / name
    return None

"""The six VBench axes that AnchorWeave reports (table 1), and their mean, using VBench itself.

VBench needs older numpy and transformers than this project, so it runs in a separate Python
(`perceptual.vbench_python`). Videos are passed as H.264 files. Values are in [0, 1]; the paper
prints them times 100. Temporal flickering is meant for static scenes, for which VBench's own
benchmark filters; as AnchorWeave reports it for moving cameras, nothing is filtered here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean

from anchorweave.evaluation.perceptual.samples import (
    NotMeasuredError,
    PerVideo,
    Sample,
    weights_file,
)
from anchorweave.video import write_video

# VBench's name -> divisor of its per-video numbers that maps them to [0, 1].
AXES = {
    "subject_consistency": 1,
    "background_consistency": 1,
    "motion_smoothness": 1,
    "temporal_flickering": 1,
    "aesthetic_quality": 1,
    "imaging_quality": 100,
}
FOLDER = "vbench"
CLIP = "https://openaipublic.azureedge.net/clip/models"
DINO = "dino_model/dino_vitbase16_pretrain.pth"
# VBench downloads missing files to its cache folder, so all of them must be there beforehand.
FILES = {
    "dino_model/facebookresearch_dino_main/hubconf.py": "git clone "
    "https://github.com/facebookresearch/dino into dino_model/facebookresearch_dino_main",
    DINO: "https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
    "clip_model/ViT-B-32.pt": f"{CLIP}/"
    "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
    "clip_model/ViT-L-14.pt": f"{CLIP}/"
    "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836/ViT-L-14.pt",
    "amt_model/amt-s.pth": "https://huggingface.co/lalala125/AMT/resolve/main/amt-s.pth",
    "aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth": "https://github.com/LAION-AI/"
    "aesthetic-predictor/blob/main/sa_0_4_vit_l_14_linear.pth?raw=true",
    "pyiqa_model/musiq_spaq_ckpt-358bb6af.pth": "https://github.com/chaofengc/IQA-PyTorch/"
    "releases/download/v0.1-weights/musiq_spaq_ckpt-358bb6af.pth",
}


def load_vbench(
    folder: Path, python: str | None, device: str
) -> Callable[[Iterable[Sample]], PerVideo]:
    """A function that computes the axes of a row's videos; `total` is their mean.

    Args:
        folder: contains `vbench/`, laid out like VBench's cache.
        python: Python of the environment with VBench; None = this one.
        device: where to run its networks.

    Raises:
        NotMeasuredError: VBench or a file is missing.
    """
    python = python or sys.executable
    if "/" in python:
        # It runs in another folder; `resolve` would follow a virtual environment's symlink.
        python = str(Path(python).absolute())
    _run([python, "-c", "import vbench"], os.environ, "see requirements-eval.txt")
    cache = (folder / FOLDER).absolute()
    for name, source in FILES.items():
        weights_file(cache, name, source)

    def measure(samples: Iterable[Sample]) -> PerVideo:
        with tempfile.TemporaryDirectory() as place:
            return _measure(samples, Path(place), cache, python, device)

    return measure


def _measure(
    samples: Iterable[Sample], place: Path, cache: Path, python: str, device: str
) -> PerVideo:
    (place / "videos").mkdir()
    keys: dict[str, tuple[str, int]] = {}
    for number, sample in enumerate(samples):
        name = f"{number:06d}.mp4"
        keys[name] = (sample.clip, sample.seed)
        write_video(place / "videos" / name, sample.video)
    # DINO's own loader looks for its weights here, and downloads them otherwise.
    hub = place / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / Path(DINO).name).symlink_to(cache / DINO)
    worker = Path(__file__).with_name("vbench_worker.py").read_text()
    command = [python, "-c", worker, str(place / "videos"), str(place), device, *AXES]
    environment = {**os.environ, "VBENCH_CACHE_DIR": str(cache), "TORCH_HOME": str(place / "torch")}
    _run(command, environment, "it runs VBench's own code", place)
    results = json.loads((place / "axes_eval_results.json").read_text())
    scores: PerVideo = {key: {} for key in keys.values()}
    for axis, top in AXES.items():
        for video in results[axis][1]:
            key = keys[Path(video["video_path"]).name]
            scores[key][axis] = video["video_results"] / top
        if lacking := [key for key, values in scores.items() if axis not in values]:
            raise NotMeasuredError(f"VBench gave no {axis} for {len(lacking)} of the videos")
    for values in scores.values():
        values["total"] = fmean(values.values())
    return scores


def _run(
    command: list[str], environment: Mapping[str, str], advice: str, place: Path | None = None
) -> None:
    """Runs a command; on failure, its last output line is the reason."""
    try:
        ended = subprocess.run(
            command, env=environment, cwd=place, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise NotMeasuredError(
            f"{command[0]} cannot be run ({error.strerror}); {advice}"
        ) from error
    if ended.returncode:
        words = (ended.stderr.strip() or f"exit code {ended.returncode}").splitlines()[-1]
        raise NotMeasuredError(f"VBench failed in {command[0]} ({words}); {advice}")

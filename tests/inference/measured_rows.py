"""Small rows whose videos are known, and the results that `inference.evaluate` makes of them."""

import torch

from inference.evaluate import main as evaluate
from inference.evaluation.cached_row import CachedRow, EvaluationTarget

MADE = {"protocol": "partial_revisit", "frames": 5, "size": [16, 32], "memory.kind": "x"}
CLIPS = ("a", "b", "c", "d")


def write_row(folder, name, error, clips=CLIPS, seeds=(0, 1), **made):
    """A row of grey videos, off by `error` levels of 255, one more for every further clip."""
    row = CachedRow(folder / name)
    row.begin({**MADE, "name": name, **made}, clips, seeds, f"python -m generate {name}")
    half = torch.zeros(5, 16, 32, dtype=torch.bool)
    half[:, :, :16] = True
    for number, clip in enumerate(clips):
        truth = true_video(number)
        row.write_given(clip, EvaluationTarget(truth, truth * half[:, None], half, half, 1.0), [])
        for seed in seeds:
            row.write_sample(clip, seed, truth + (error + number + seed) / 255, 0.5)
    return row


def true_video(number):
    """Grey, and darker from frame to frame."""
    steps = torch.arange(5).flip(0)[:, None, None, None] * 20
    return ((60 + 10 * number + steps).float() / 255).expand(5, 3, 16, 32).contiguous()


def write_results(folder, *words):
    """Results of the rows in folder/rows, in folder/results."""
    evaluate([f"rows={folder / 'rows'}", f"output={folder / 'results'}", "resamples=100", *words])
    return folder / "results"

"""Guidance on two ranks: the same video as on one, each rank half of the work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.alike import alike
from tests.pipelines.small import make_pipeline, retrieved, run, teach

ROOT = Path(__file__).parents[2]
WORKER = """
import sys
import torch, torch.distributed as dist
from anchorweave.pipelines import AnchorWeavePipeline
from tests.pipelines.small import retrieved, run

folder, rank = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
pipe = AnchorWeavePipeline.from_pretrained(f"{folder}/model")
pipe.set_progress_bar_config(disable=True)
pipe.split_guidance()
batches = []
for part in (pipe.transformer.transformer_blocks[0], pipe.controller.blocks[0]):
    part.register_forward_pre_hook(
        lambda _, args, kwargs: batches.append(len((args or tuple(kwargs.values()))[0])),
        with_kwargs=True,
    )
found = {"woven": run(pipe, retrieved=retrieved()), "alone": run(pipe)}
assert set(batches) == {1}, batches
try:
    run(pipe, guidance_scale=1.0)
except ValueError as error:
    found["refused"] = str(error)
torch.save(found, f"{folder}/{rank}.pt")
dist.destroy_process_group()
"""


def test_two_ranks_make_the_video_of_one(tmp_path):
    pipe = make_pipeline()
    teach(pipe.controller)
    pipe.save_pretrained(tmp_path / "model")
    expected = {"woven": run(pipe, retrieved=retrieved()), "alone": run(pipe)}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(rank)], cwd=ROOT, env=environment
        )
        for rank in range(2)
    ]
    assert [rank.wait(timeout=600) for rank in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name, video in expected.items():
        # Each rank decodes for itself, and rounding differs with where its buffers lie.
        assert alike(first[name], second[name]) and alike(first[name], video)
    assert "guidance_scale=1 has no halves" in first["refused"]


def test_one_rank_has_no_halves():
    with pytest.raises(ValueError, match="one of 1 rank.*torchrun"):
        make_pipeline().split_guidance()

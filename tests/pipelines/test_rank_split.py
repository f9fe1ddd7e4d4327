"""Guidance on two ranks: the same video as on one, each rank half of the work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.alike import alike
from tests.pipelines.small import MEMBERS, make_pipeline, retrieved, run, teach

ROOT = Path(__file__).parents[2]
# Both families in the same two processes, most of whose time goes into imports.
WORKER = """
import sys
import torch, torch.distributed as dist
from anchorweave.models.backbones import family_of
from anchorweave.pipelines import pipeline_of
from tests.pipelines.small import MEMBERS, retrieved, run

folder, rank = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
found = {}
for family, member in MEMBERS.items():
    pipe = pipeline_of(family).from_pretrained(f"{folder}/{family}")
    pipe.set_progress_bar_config(disable=True)
    pipe.split_guidance()
    rows, blocks = [], family_of(pipe.transformer).blocks(pipe.transformer)
    for part in (blocks[0], pipe.controller.blocks[0]):
        part.register_forward_pre_hook(
            lambda _, args, kwargs: rows.append(len((args or tuple(kwargs.values()))[0])),
            with_kwargs=True,
        )
    woven = run(pipe, retrieved=retrieved(size=member.size), guidance_scale=3.0)
    # Two steps, and in each backbone and controller for one of the two halves.
    found[family] = {"rows": list(rows), "woven": woven, "alone": run(pipe, guidance_scale=3.0)}
    backbone = pipe.components["transformer"]
    found[family]["kept"] = type(backbone).__name__
    try:
        run(pipe, guidance_scale=1.0)
    except ValueError as error:
        found[family]["refused"] = str(error)
    if family == "wan":
        pipe._all_hooks = ["one"]
        try:
            run(pipe, guidance_scale=3.0)
        except ValueError as error:
            found[family]["offloaded"] = str(error)
torch.save(found, f"{folder}/{rank}.pt")
dist.destroy_process_group()
"""


def test_two_ranks_make_the_video_of_one(tmp_path):
    expected = {}
    pipelines = {family: make_pipeline(family=family) for family in MEMBERS}
    for family, pipe in pipelines.items():
        teach(pipe.controller)
        pipe.save_pretrained(tmp_path / family)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(rank)], cwd=ROOT, env=environment
        )
        for rank in range(2)
    ]
    for family, pipe in pipelines.items():
        known = retrieved(size=MEMBERS[family].size)
        expected[family] = {
            "woven": run(pipe, retrieved=known, guidance_scale=3.0),
            "alone": run(pipe, guidance_scale=3.0),
        }
    assert [rank.wait(timeout=600) for rank in ranks] == [0, 0]
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for family, videos in expected.items():
        first, second = (found[family] for found in both)
        for name, video in videos.items():
            # Each rank decodes for itself, and rounding differs with where its buffers lie.
            assert alike(first[name], second[name]) and alike(first[name], video), family
        assert first["rows"] == second["rows"] == [1] * 4
        assert first["kept"] == type(pipelines[family].transformer).__name__
        assert "guidance_scale=1 has no halves" in first["refused"]
    assert "model offloading does not allow" in both[0]["wan"]["offloaded"]


@pytest.mark.parametrize("family", MEMBERS)
def test_one_rank_has_no_halves(family):
    with pytest.raises(ValueError, match="one of 1 rank.*torchrun"):
        make_pipeline(family=family).split_guidance()

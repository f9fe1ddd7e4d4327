import math

import pytest
import torch
from rich.console import Console

from anchorweave.anchors import Anchors, ChunkReport, Pick
from anchorweave.evaluation.image_metrics import psnr, ssim
from anchorweave.holes import fill_holes
from inference.runs.report import measure, print_report, selection

QUALITY = {"psnr_all": 10.0, "ssim_all": 0.1, "psnr_visible": 12.0}
METRICS = {"generated": QUALITY, "anchors": {"slots": []}}


def test_a_memory_that_shows_nothing_is_said_so(capsys):
    report = (ChunkReport(0, 9, 0, (), "pool empty"),)
    print_report(Console(width=120), METRICS, report)
    assert "memory shows nothing of the target" in capsys.readouterr().out


def test_the_filled_composite_is_measured_as_the_video_is(capsys):
    truth = torch.rand(3, 3, 16, 16)
    visible = torch.ones(1, 3, 16, 16, dtype=torch.bool)
    visible[:, :, 4:6] = False
    anchors = Anchors(truth[None] * visible[:, :, None], visible, torch.eye(4).repeat(1, 3, 1, 1))
    metrics = measure({"generated": truth}, truth, anchors)
    filled = fill_holes(anchors.video[0], visible[0], "filled")
    expected = {
        "psnr_all": psnr(filled[1:], truth[1:]),
        "ssim_all": ssim(filled[1:], truth[1:]),
        "psnr_visible": 100.0,
    }
    assert metrics["anchors"]["composite_filled"] == expected
    print_report(Console(width=120), metrics, ())
    line = next(li for li in capsys.readouterr().out.splitlines() if "holes filled" in li)
    assert f"{expected['psnr_all']:.2f}" in line and f"{expected['ssim_all']:.3f}" in line
    alone = measure({"generated": truth}, truth, anchors[:0])
    assert "composite_filled" not in alone["anchors"]
    assert alone["generated"] == {"psnr_all": 100.0, "ssim_all": 1.0, "psnr_visible": None}


def test_all_pixels_and_those_that_anchors_show_are_told_apart(capsys):
    """A video that is right where anchors show and wrong elsewhere."""
    truth = torch.rand(3, 3, 16, 16)
    visible = torch.zeros(1, 3, 16, 16, dtype=torch.bool)
    visible[..., :8] = True
    visible[:, 2, :, :12] = True
    anchors = Anchors(truth[None] * visible[:, :, None], visible, torch.eye(4).repeat(1, 3, 1, 1))
    video = torch.where(visible[0][:, None], truth, truth + 0.1)
    metrics = measure({"generated": video, "without_memory": truth + 0.1}, truth, anchors)
    # Errors of 0.1 on 12 of 32 columns of the frames 1 and 2; 20 dB are an error of 0.1 throughout.
    assert metrics["generated"]["psnr_all"] == pytest.approx(
        20 - 10 * math.log10(12 / 32), abs=1e-3
    )
    assert metrics["generated"]["psnr_visible"] == 100
    assert metrics["without_memory"]["psnr_visible"] == pytest.approx(20, abs=1e-3)
    composite = metrics["anchors"]["composite"]
    assert composite["coverage_by_frame"] == [0.5, 0.5, 0.75]
    assert composite["coverage"] == pytest.approx(1.75 / 3)
    # What choosing counted on small views is not what tables call coverage.
    pick = Pick(0, 4, "frame 4", 0.9, 0.9)
    print_report(
        Console(width=140),
        metrics,
        (ChunkReport(0, 2, 5, (pick,), "K reached"), ChunkReport(2, 3, 5, (pick,), "K reached")),
    )
    out = capsys.readouterr().out
    for heading in ("PSNR, all pixels (dB)", "PSNR where anchors show (dB)", "without memory"):
        assert heading in out
    lines = [line for line in out.splitlines() if "frame 4 (90%)" in line]
    assert ["50%" in lines[0], "75%" in lines[1]] == [True, True]


def test_selection_names_the_target_frames():
    report = (ChunkReport(0, 3, 0, (), "pool empty"), ChunkReport(3, 5, 0, (), "pool empty"))
    chunks = selection(report, ("a", "b", "c", "d", "e"))
    assert [chunk["target_frames"] for chunk in chunks] == [["a", "b", "c"], ["d", "e"]]


def test_an_anchor_without_picks_is_not_said_to_show_nothing(capsys):
    slot = {"coverage": 0.5, "psnr_visible": 20.0}
    composite = {**slot, "coverage_by_frame": [0.5] * 9}
    anchors = {"slots": [slot], "composite": composite, "composite_filled": QUALITY}
    metrics = {**METRICS, "anchors": anchors}
    print_report(Console(width=120), metrics, (ChunkReport(0, 9, 0, (), "K reached"),))
    assert "memory shows nothing" not in capsys.readouterr().out

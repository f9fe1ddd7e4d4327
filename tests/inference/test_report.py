import torch
from rich.console import Console

from anchorweave.anchors import Anchors, ChunkReport
from anchorweave.evaluation.image_metrics import psnr, ssim
from anchorweave.holes import fill_holes
from inference.report import measure, print_report, selection

METRICS = {"generated": {"psnr": 10.0, "ssim": 0.1}, "anchors": {"slots": []}}


def test_a_memory_that_shows_nothing_is_said_so(capsys):
    report = (ChunkReport(0, 9, 0, (), "pool empty"),)
    print_report(Console(width=120), METRICS, report)
    assert "memory shows nothing of the target" in capsys.readouterr().out


def test_the_filled_composite_is_measured_as_the_video_is(capsys):
    truth = torch.rand(3, 3, 16, 16)
    visible = torch.ones(1, 3, 16, 16, dtype=torch.bool)
    visible[:, :, 4:6] = False
    anchors = Anchors(truth[None] * visible[:, :, None], visible, torch.eye(4).repeat(1, 3, 1, 1))
    metrics = measure(truth, truth, anchors)
    filled = fill_holes(anchors.video[0], visible[0], "filled")
    expected = {"psnr": psnr(filled[1:], truth[1:]), "ssim": ssim(filled[1:], truth[1:])}
    assert metrics["anchors"]["composite_filled"] == expected
    print_report(Console(width=120), metrics, ())
    line = next(li for li in capsys.readouterr().out.splitlines() if "holes filled" in li)
    assert f"{expected['psnr']:.2f}" in line and f"{expected['ssim']:.3f}" in line
    assert "composite_filled" not in measure(truth, truth, anchors[:0])["anchors"]


def test_selection_names_the_target_frames():
    report = (ChunkReport(0, 3, 0, (), "pool empty"), ChunkReport(3, 5, 0, (), "pool empty"))
    chunks = selection(report, ("a", "b", "c", "d", "e"))
    assert [chunk["target_frames"] for chunk in chunks] == [["a", "b", "c"], ["d", "e"]]


def test_an_anchor_without_picks_is_not_said_to_show_nothing(capsys):
    slot = {"coverage": 0.5, "psnr_visible": 20.0}
    metrics = {**METRICS, "anchors": {"slots": [slot], "composite": slot}}
    print_report(Console(width=120), metrics, (ChunkReport(0, 9, 0, (), "K reached"),))
    assert "memory shows nothing" not in capsys.readouterr().out

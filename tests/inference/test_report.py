from rich.console import Console

from anchorweave.anchors import ChunkReport
from inference.report import print_report, selection

METRICS = {"generated": {"psnr": 10.0, "ssim": 0.1}, "anchors": {"slots": []}}


def test_a_memory_that_shows_nothing_is_said_so(capsys):
    report = (ChunkReport(0, 9, 0, (), "pool empty"),)
    print_report(Console(width=120), METRICS, report)
    assert "memory shows nothing of the target" in capsys.readouterr().out


def test_selection_names_the_target_frames():
    report = (ChunkReport(0, 3, 0, (), "pool empty"), ChunkReport(3, 5, 0, (), "pool empty"))
    chunks = selection(report, ("a", "b", "c", "d", "e"))
    assert [chunk["target_frames"] for chunk in chunks] == [["a", "b", "c"], ["d", "e"]]


def test_an_anchor_without_picks_is_not_said_to_show_nothing(capsys):
    slot = {"coverage": 0.5, "psnr_visible": 20.0}
    metrics = {**METRICS, "anchors": {"slots": [slot], "composite": slot}}
    print_report(Console(width=120), metrics, (ChunkReport(0, 9, 0, (), "K reached"),))
    assert "memory shows nothing" not in capsys.readouterr().out

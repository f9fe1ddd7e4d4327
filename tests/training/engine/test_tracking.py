import json

import pytest
from accelerate import Accelerator

from tests.training.runs import config_of
from training import plots
from training.engine.plots import loss_by_timestep, loss_curve, write_plots
from training.engine.tracking import LOG, JsonLines, log_problems, read_log, start_trackers


@pytest.fixture(autouse=True)
def accelerator():
    return Accelerator(cpu=True)


def test_a_run_that_goes_on_forgets_the_steps_that_it_takes_again(tmp_path):
    journal = JsonLines(tmp_path / LOG)
    for step in range(5):
        journal.log({"loss": 1.0}, step, samples={"losses": [1.0]})
    journal.log({"validation/loss": 2.0}, 4)
    journal.rewind(3)
    assert [r["step"] for r in read_log(journal.path)] == [0, 1, 2]
    assert read_log(journal.path)[0] == {"step": 0, "loss": 1.0, "losses": [1.0]}


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path):
    path = tmp_path / LOG
    path.write_text(json.dumps({"step": 0}) + "\n" + '{"step": 1, "lo')
    assert read_log(path) == [{"step": 0}]
    JsonLines(path).rewind(10)
    assert len(path.read_text().splitlines()) == 1 and read_log(path) == [{"step": 0}]


def test_a_flipped_digit_leaves_its_line_out_and_is_said(tmp_path, capsys):
    journal = JsonLines(tmp_path / LOG)
    for step in range(3):
        journal.log({"loss": 1.5, "rate": 1e-4}, step)
    text = journal.path.read_text()
    for before, after in (('"step": 1', '"step": 3'), ("1.5", "1.7"), ('"loss"', '"lost"')):
        start = text.index("\n") + 1
        journal.path.write_text(text[:start] + text[start:].replace(before, after, 1))
        assert [r["step"] for r in read_log(journal.path)] == [0, 2]
    journal.rewind(10)
    assert "cannot read line 2; skipped" in capsys.readouterr().out
    assert [r["step"] for r in read_log(journal.path)] == [0, 2]


def test_a_log_that_was_cut_at_the_end_of_a_line_is_said(tmp_path, capsys):
    journal = JsonLines(tmp_path / LOG)
    # A run that went on from a checkpoint of another folder.
    for step in range(2, 9):
        journal.log({"loss": 1.0}, step)
    journal.rewind(9)
    assert capsys.readouterr().out == "" and log_problems(journal.path, 9) == []
    lines = journal.path.read_text().splitlines(keepends=True)
    journal.path.write_text("".join(lines[:5]))
    journal.rewind(9)
    assert f"{journal.path}: has no line for 2 steps from 7 on" in capsys.readouterr().out
    journal.path.write_text("".join(lines[:3] + lines[4:]))
    journal.rewind(9)
    assert "has no line for step 5; the weights are not affected" in capsys.readouterr().out
    journal.path.write_text("")
    assert log_problems(journal.path, 1) == [
        f"{journal.path}: has no line for step 0; the weights are not affected"
    ]


def test_drawing_the_loss_says_what_the_log_lacks(tmp_path, capsys):
    (tmp_path / LOG).write_text(json.dumps(record(0, [1.0], [3.0])) + "\n3\n")
    (tmp_path / "checkpoints" / "step-00000003").mkdir(parents=True)
    plots.main([f"output={tmp_path}"])
    said = capsys.readouterr().out
    assert "cannot read line 2" in said and "has no line for 2 steps from 1 on" in said


def test_wandb_writes_to_the_output_folder_and_sends_nothing(tmp_path, accelerator, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = config_of(tmp_path, tmp_path / "run", logging__trackers="[wandb]")
    (tmp_path / "run").mkdir()
    start_trackers(config, accelerator, 0)
    accelerator.log({"loss": 1.0}, 0, {"jsonl": {"samples": {"losses": [1.0]}}})
    accelerator.end_training()
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert read_log(tmp_path / "run" / LOG) == [{"step": 0, "loss": 1.0, "losses": [1.0]}]


def record(step, losses, timesteps):
    return {"step": step, "loss": sum(losses) / len(losses), "losses": losses} | {
        "timesteps": timesteps
    }


def test_the_loss_by_timestep_is_drawn_where_it_is():
    low, high = [record(0, [0.1, 2.0], [10.0, 990.0])] * 3, [record(0, [1.0], [500.0])]
    pixels = loss_by_timestep(low + high).load()
    orange = (220, 120, 20)
    columns = {x for x in range(720) for y in range(40, 370) if pixels[x, y] == orange}
    # Three bars: at the left end, in the middle, at the right end, nothing between.
    assert min(columns) < 80 and max(columns) > 690 and any(380 < x < 420 for x in columns)
    assert not any(120 < x < 370 for x in columns)


def test_plots_take_what_a_run_may_log(tmp_path):
    nan = float("nan")
    assert loss_curve([]).size == loss_by_timestep([]).size
    (tmp_path / LOG).write_text(
        "".join(
            json.dumps(r) + "\n"
            for r in [record(0, [1.0], [3.0]), record(1, [nan], [5.0]), {"step": 1, "x": 1}]
        )
    )
    write_plots(tmp_path)
    assert (tmp_path / "loss.png").is_file() and (tmp_path / "loss_by_timestep.png").is_file()


@pytest.mark.parametrize(
    "spoiled", [b'{"step": 5, "lo', b'{"step": 5, "lo\n', b"\0\0\0\0", b"\xff\n", b"3\n", b"{}\n"]
)
def test_a_spoiled_line_is_left_out_and_said(tmp_path, spoiled, capsys):
    path = tmp_path / "log.jsonl"
    lines = [b'{"step": 3, "loss": 1.0}\n', b'{"step": 4, "loss": 2.0}\n']
    path.write_bytes(lines[0] + lines[1] + spoiled)
    assert [record["step"] for record in read_log(path)] == [3, 4]
    JsonLines(path).rewind(4)
    assert read_log(path) == [{"step": 3, "loss": 1.0}]
    assert f"{path}: cannot read line 3; skipped" in capsys.readouterr().out
    # In the midst of others too.
    path.write_bytes(lines[0] + spoiled + b"\n" + lines[1])
    assert [record["step"] for record in read_log(path)] == [3, 4]

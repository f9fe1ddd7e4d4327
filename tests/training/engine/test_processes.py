"""Several processes of a command: their exit status, and nothing of the launcher's own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.engine.processes import _status, main

ROOT = Path(__file__).parents[3]
LAUNCH = [sys.executable, "-m", "training.engine.processes", "2"]
ENDING = "tests.training.engine.ending"


def launched(*how, **environ):
    environ = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | environ
    return subprocess.Popen(
        [*LAUNCH, ENDING, *how], cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "how, status, said",
    [
        (("ok", "ok"), 0, ""),
        (("ok", "3"), 3, "rank 1 says why\n"),
        (("SIGKILL", "ok"), 137, "process 0 was ended by SIGKILL; did memory run out?"),
    ],
)
def test_what_is_said_is_what_the_processes_say(how, status, said):
    process = launched(*how)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == status
    assert errors.startswith(said) and errors.count("\n") == bool(said)


def test_a_signal_ends_all_of_them(tmp_path):
    process = launched("wait", "ok", STARTED=str(tmp_path / "started"))
    while not (tmp_path / "started").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors == "all processes were ended by SIGTERM\n"


def test_accelerates_launcher_is_as_quiet():
    config = ["--config_file", "configs/accelerate/cpu_two_processes.yaml", "-m"]
    done = subprocess.run(
        [*LAUNCH[:-1], *config, ENDING, "ok", "2"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (2, "rank 1 says why\n")


def test_the_status_is_that_of_the_process_that_failed_by_itself(capsys):
    ended = -signal.SIGTERM
    assert _status({0: ended, 1: 2}) == 2 and not capsys.readouterr().err
    assert _status({0: ended, 1: -signal.SIGKILL, 2: ended}) == 128 + signal.SIGKILL
    assert "process 1 was ended by SIGKILL" in capsys.readouterr().err
    assert _status({3: ended}) == 128 + signal.SIGTERM


@pytest.mark.parametrize("count", ["0", "two", ""])
def test_a_number_that_is_none_is_refused(count, capsys):
    assert main([count, ENDING]) == 2
    assert f"PROCESSES={count}: must be a number" in capsys.readouterr().err

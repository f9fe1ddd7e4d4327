import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parent.parent / "scripts" / "setup.sh"


@pytest.mark.skipif(
    not shutil.which("ldconfig", path="/usr/sbin:/sbin"), reason="no ldconfig in /usr/sbin or /sbin"
)
def test_libraries_are_checked_for_a_user_whose_path_has_no_sbin(tmp_path):
    """With nothing else in PATH, so that nothing can be installed."""
    (tmp_path / "anchorweave").mkdir()
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    (tmp_path / "bin" / "id").symlink_to(shutil.which("id"))
    traced = subprocess.run(
        [shutil.which("bash"), "-euxo", "pipefail", "-c", f". {SETUP}"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
    )
    assert "sbin/ldconfig -p" in traced.stderr, traced.stderr


SRUN = """#!/usr/bin/env bash
# Every node runs the command, both of them here.
SLURM_NODEID=0 "$@" & first=$!
SLURM_NODEID=1 "$@" & second=$!
wait $first && wait $second
"""


def test_slurm_starts_one_training_on_all_nodes(tmp_path):
    """Two nodes of one process each, by stand-ins for what Slurm brings along."""
    from tests.training.clips import write_clips, write_model
    from tests.training.runs import ALONE, ROOT, words

    write_clips(tmp_path / "clips")
    write_model(tmp_path / "model")
    (tmp_path / "bin").mkdir()
    for name, text in {"srun": SRUN, "scontrol": "#!/bin/sh\necho 127.0.0.1\n"}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "ACCELERATE_CONFIG": "configs/accelerate/cpu_two_processes.yaml",
        "SLURM_JOB_NODELIST": "a,b",
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "1",
        "PORT": str(port),
    }
    done = subprocess.run(
        ["bash", "scripts/train_slurm.sh", *words(tmp_path, tmp_path / "run", steps=2)],
        cwd=ROOT,
        env=os.environ | ALONE | told,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "strategy ddp, 2 rank(s)" in done.stdout
    assert (tmp_path / "run" / "checkpoints" / "step-00000002" / "manifest.json").is_file()

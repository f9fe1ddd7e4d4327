import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
SETUP = ROOT / "scripts" / "setup.sh"


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


SEVERAL = "-m training.engine.processes 3"
DDP = "-m training.engine.processes --config_file configs/accelerate/eight_gpus_ddp.yaml"


@pytest.mark.parametrize(
    "script, module, environ, launched",
    [
        ("prepare_data", "prepare_clips", {}, "-m"),
        ("prepare_data", "prepare_clips", {"PROCESSES": "3"}, SEVERAL),
        ("reconstruct", "reconstruct_recordings", {}, "-m"),
        ("reconstruct", "reconstruct_recordings", {"PROCESSES": "3"}, SEVERAL),
        ("precompute", "precompute_latents", {}, "-m"),
        ("precompute", "precompute_latents", {"PROCESSES": "3"}, SEVERAL),
        ("train_with_latent", "train", {}, "-m"),
        ("train_with_latent", "train", {"PROCESSES": "3"}, f"{DDP} --num_processes 3 -m"),
        (
            "train_with_latent",
            "train",
            {"ACCELERATE_CONFIG": "my own.yaml"},
            "-m training.engine.processes --config_file my own.yaml -m",
        ),
        (
            "train_with_latent",
            "train",
            {"ACCELERATE_CONFIG": "own.yaml", "PROCESSES": "2"},
            "-m training.engine.processes --config_file own.yaml --num_processes 2 -m",
        ),
    ],
)
def test_several_processes_are_asked_for_in_one_way(tmp_path, script, module, environ, launched):
    done = run_script(tmp_path, script, environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{launched} training.{module} a=b c=d e\n"


@pytest.mark.parametrize("script", ["prepare_data", "precompute"])
def test_the_earlier_way_to_ask_for_several_processes_is_refused(tmp_path, script):
    done = run_script(tmp_path, script, {"LAUNCH": "torch.distributed.run --nproc_per_node 3"})
    assert done.returncode == 2 and "LAUNCH=... is now PROCESSES=N" in done.stderr
    assert not done.stdout


def run_script(tmp_path, script, environ):
    """Runs a script with a stand-in for Python that has every requirement and prints its words."""
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\n[ "$1" = - ] || echo "$@"\n')
    python.chmod(0o755)
    names = ("LAUNCH", "PROCESSES", "ACCELERATE_CONFIG")
    plain = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        ["bash", f"scripts/{script}.sh", "a=b", "c=d e"],
        cwd=ROOT,
        env={**plain, "PATH": f"{tmp_path}:{os.environ['PATH']}", **environ},
        capture_output=True,
        text=True,
    )


# Stands for every Python: its words say what it is asked for, the environment what it has.
STUB = """#!/bin/sh
case "$*" in
  "-c "*) exit "${OLD:-0}";;
  --version) echo Python 3.8.1;;
  "-m venv .venv")
    mkdir -p .venv/bin
    [ -z "${KILLED:-}" ] || kill -9 "$PPID"
    cp "$STUB" .venv/bin/python;;
  "-m pip --version") [ -z "${NO_PIP:-}" ];;
  "-m pip install"*)
    [ -z "${OFFLINE:-}" ] || { echo "Retrying after NewConnectionError" >&2; exit 1; }
    touch .venv/installed;;
  -) case "$0" in .venv/*) [ -e .venv/installed ];; *) exit 1;; esac;;
  *) echo "asked for $*" >&2; exit 1;;
esac
"""
NAMES = ["python3", *(f"python3.{minor}" for minor in range(10, 15))]
TOOLS = ["sh", "mkdir", "touch", "cp", "mv", "rm", "cat", "date", "grep", "id"]


@pytest.fixture
def set_up(tmp_path):
    """Runs setup.sh in a project of its own; says how it ended, and what it said."""
    (tmp_path / "anchorweave").mkdir()
    (tmp_path / "requirements.txt").write_text("thing\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in NAMES:
        (tools / name).write_text(STUB)
        (tools / name).chmod(0o755)
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name))

    def run(**env):
        ended = subprocess.run(
            [shutil.which("bash"), "-euo", "pipefail", "-c", f". {SETUP}; echo made $PYTHON"],
            cwd=tmp_path,
            env={"PATH": str(tools), "STUB": str(tools / "python3"), **env},
            capture_output=True,
            text=True,
        )
        return ended.returncode, ended.stdout + ended.stderr

    return run


def whole(tmp_path):
    there = tmp_path / ".venv"
    return (there / "installed").exists() and not (there / "being-set-up").exists()


def test_an_environment_is_made_once(set_up, tmp_path):
    assert "installing requirements.txt" in set_up()[1] and whole(tmp_path)
    assert "setup: installing requirements.txt" not in set_up()[1]


def test_an_interrupted_environment_is_made_anew(set_up, tmp_path):
    assert set_up(KILLED="1")[0] == -9
    assert (tmp_path / ".venv" / "being-set-up").exists()
    said = set_up()[1]
    assert "interrupted" in said and whole(tmp_path)
    assert not list(tmp_path.glob(".venv.old-*"))


def test_a_dangling_interpreter_is_replaced_and_nothing_of_the_users_removed(set_up, tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    (tmp_path / ".venv" / "mine.txt").touch()
    said = set_up()[1]
    assert "no Python 3.10 or newer that runs" in said and whole(tmp_path)
    (kept,) = tmp_path.glob(".venv.old-*")
    assert (kept / "mine.txt").exists() and kept.name in said


def test_an_empty_environment_is_filled(set_up, tmp_path):
    """What is left of a set-up that was ended right behind its first command."""
    (tmp_path / ".venv").mkdir()
    said = set_up()[1]
    assert "no Python 3.10 or newer that runs" in said and whole(tmp_path)


def test_an_environment_without_pip_is_replaced(set_up, tmp_path):
    """What is left where making one was ended between its interpreter and its pip."""
    code, said = set_up(NO_PIP="1", OFFLINE="1")
    assert code == 1 and "no network" in said
    (tmp_path / ".venv" / "made-by-setup").unlink()
    (tmp_path / ".venv" / "being-set-up").unlink()
    said = set_up(NO_PIP="1")[1]
    assert "runs and has pip; making it anew" in said and "kept as .venv.old-" in said
    assert whole(tmp_path)


def test_a_link_to_an_environment_that_is_gone_is_set_aside(set_up, tmp_path):
    (tmp_path / ".venv").symlink_to(tmp_path / "gone")
    set_up()
    assert whole(tmp_path) and not (tmp_path / ".venv").is_symlink()


def test_a_python_that_is_too_old_is_named(set_up, tmp_path):
    code, said = set_up(OLD="1")
    assert code == 1 and "no Python 3.10 or newer (python3 is Python 3.8.1)" in said
    assert not (tmp_path / ".venv").exists()


def test_no_network_is_said_and_mended_by_running_again(set_up, tmp_path):
    code, said = set_up(OFFLINE="1")
    assert code == 1 and "no network" in said and "PIP_INDEX_URL" in said
    set_up()
    assert whole(tmp_path)


def test_installing_the_package_brings_what_it_needs(tmp_path):
    build_meta = pytest.importorskip("setuptools.build_meta")
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "anchorweave").mkdir()
    (tmp_path / "anchorweave" / "__init__.py").touch()
    code = f"from {build_meta.__name__} import *; prepare_metadata_for_build_wheel('out')"
    (tmp_path / "out").mkdir()
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    (metadata,) = (tmp_path / "out").glob("*/METADATA")
    said = [line for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist:")]
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").open()]
    wanted = {canonical(Requirement(line)) for line in lines if line}
    assert {canonical(Requirement(line.partition(":")[2])) for line in said} == wanted


def canonical(requirement):
    return requirement.name, frozenset(requirement.extras), requirement.specifier

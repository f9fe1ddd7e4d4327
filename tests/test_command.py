import io
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from anchorweave.command import Command, commands, options_elsewhere
from anchorweave.config import load_config
from anchorweave.errors import EndedError
from anchorweave.option_help import options_of

ROOT = Path(__file__).parent.parent
COMMANDS = commands()


@dataclass(frozen=True)
class Part:
    """A part.

    Args:
        size: of it, in pixels.
    """

    size: int = 3


@dataclass(frozen=True)
class Whole:
    """All of it.

    Args:
        name: what it is called, said over
            two lines.

    Raises:
        ValueError: never.
    """

    name: str = "x y"
    part: Part = field(default_factory=Part)


def command(main):
    return Command(main, Whole, first="name", also={"--more": "more of it"})


def told(main, capsys, *words):
    with pytest.raises(SystemExit) as ended:
        command(main).run(words)
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [ValueError("name=x is none"), FileNotFoundError("no x"), EndedError("step 3: nan")]
)
def test_a_mistake_is_one_message_and_exit_code_2(capsys, error, monkeypatch):
    monkeypatch.delenv("ANCHORWEAVE_TRACEBACK", raising=False)

    def main(words):
        raise error

    code, said = told(main, capsys)
    assert code == 2 and f"error: {error}" in said and "Traceback" not in said
    code, said = told(main, capsys, "--traceback")
    assert code == 2 and f"error: {error}" in said and "Traceback" in said
    monkeypatch.setenv("ANCHORWEAVE_TRACEBACK", "1")
    assert "Traceback" in told(main, capsys)[1]


def test_what_a_terminal_would_obey_is_spelled_out(capsys):
    """A name of a file, say, that came with someone else's recording."""

    def main(words):
        raise ValueError("a\x1b[31m.png\tis\nno image")

    code, said = told(main, capsys)
    assert code == 2 and r"a\x1b[31m.png" in said and "\tis\nno image" in said


def test_our_own_faults_keep_their_traceback():
    def main(words):
        raise KeyError("not the user's")

    with pytest.raises(KeyError):
        command(main).run([])


def test_the_rank_is_said_where_there_are_several(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert told(lambda words: load_config(Whole, words), capsys, "part=x")[1].startswith("rank 1: ")


def test_words_reach_main_without_those_that_are_for_all():
    met = []
    command(met.extend).run(["a room", "part.size=4", "--traceback", "--more"])
    assert met == ["name=a room", "part.size=4", "--more"]


def test_help_says_options_defaults_and_meanings(capsys):
    command(lambda words: 1 / 0).run(["part.size=4", "--help"])
    said = capsys.readouterr().out
    assert "'name=x y'\n      what it is called, said over two lines." in said
    assert "part: A part.\n  part.size=3\n      of it, in pixels." in said
    assert "--more" in said and "config=FILE" in said and "ANCHORWEAVE_TRACEBACK" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_entry_point_has_a_meaning(name):
    one = COMMANDS[name]
    assert [option.key for option in options_of(one.schema) if not option.meaning] == []
    said = one.help()
    assert said.startswith(f"python -m {name} ")
    for option in options_of(one.schema):
        assert option.is_section or re.search(rf"^  '?{re.escape(option.key)}=", said, re.M)


def test_every_module_that_is_run_is_such_a_command():
    run = [
        f"{folder}.{path.stem}"
        for folder in ("inference", "training")
        for path in sorted((ROOT / folder).glob("*.py"))
        if "__main__" in path.read_text()
    ]
    assert sorted(COMMANDS) == sorted(run)


def test_an_option_of_another_stage_is_named_with_its_stages():
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-m", "training.train", "retrieval.chunk=4"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert "retrieval.chunk is an option of training.prepare_clips, inference." in ended.stderr
    assert "training.train" not in options_elsewhere("retrieval.chunk")["retrieval.chunk"]
    assert list(options_elsewhere("chunk")) == ["retrieval.chunk"]
    assert options_elsewhere("no_such_option") == {}


@pytest.mark.parametrize(
    "name, word, said",
    [
        ("inference.sample", "--dry-run", "the same options: python -m inference.dry_run"),
        ("inference.sample", "--frames=9", "such as frames=..."),
        ("training.prepare_clips", "--output", "such as output=..."),
    ],
)
def test_a_dashed_word_names_the_option_or_command_that_is_meant(capsys, name, word, said):
    with pytest.raises(SystemExit) as ended:
        COMMANDS[name].run([word])
    assert ended.value.code == 2
    assert f"unknown option {word!r}" in (shown := capsys.readouterr().err) and said in shown


def test_a_dashed_word_names_no_command_for_other_options(capsys):
    with pytest.raises(SystemExit):
        COMMANDS["training.prepare_clips"].run(["--dry-run"])
    assert "dry_run" not in capsys.readouterr().err


def test_whoever_stops_reading_ends_it_quietly(monkeypatch):
    def main(words):
        raise BrokenPipeError

    file = os.fdopen(os.dup(1), "w")
    monkeypatch.setattr("sys.stdout", file)
    with pytest.raises(SystemExit) as ended:
        command(main).run([])
    assert ended.value.code == 1 and isinstance(file, io.TextIOWrapper)


CITED = re.compile(
    r"\b(?:configs|data|scripts|tests|anchorweave|pretrained)/[\w./-]*\.(?:md|yaml|sh|py)\b"
)


@pytest.mark.parametrize("folder", ["anchorweave", "inference", "training", "scripts", "configs"])
def test_files_that_are_cited_exist(folder):
    missing = {
        f"{path.relative_to(ROOT)}: {cited}"
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".sh", ".yaml", ".md")
        for cited in CITED.findall(path.read_text())
        # Capitals stand for a name of one's own.
        if not re.search(r"/[A-Z]{3}", cited) and not (ROOT / cited).exists()
    }
    assert missing == set()


ENDED = """
import os, signal, sys, tempfile, threading, time
from dataclasses import dataclass
from pathlib import Path
from anchorweave.command import Command
from anchorweave.files import atomic_write
from anchorweave.locks import in_use

@dataclass(frozen=True)
class Options:
    output: str = ""

# Whoever runs the tests may have it ignored, as nohup does.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def main(words):
    with in_use("out"), tempfile.TemporaryDirectory(dir=".") as folder, atomic_write("x") as aside:
        Path(folder, "file").write_text("of a bank")
        aside.write_text("half")
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        time.sleep(60)

Command(main, Options).run(())
"""


@pytest.mark.parametrize("name, code", [("SIGTERM", 143), ("SIGHUP", 129)])
def test_what_is_ended_by_a_signal_leaves_nothing_behind(tmp_path, name, code):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", ENDED, name]
    ended = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert ended.returncode == code and f"ended by {name}" in ended.stderr
    assert "Traceback" not in ended.stderr and not list(tmp_path.iterdir())


def test_signals_mean_what_they_did_before_once_it_has_run():
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)]
    during = []
    command(lambda words: during.append(signal.getsignal(signal.SIGTERM))).run(())
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)] == before
    assert during[0] not in before

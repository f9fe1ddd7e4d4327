"""A set of files is the old one or the new one, wherever its writer is killed."""

import os
import shutil
import subprocess
import sys

import pytest

from anchorweave import file_sets, locks
from anchorweave.file_sets import (
    COMPLETE,
    MixedSetError,
    finish_set,
    new_run,
    refuse_mixed,
    written_together,
)
from anchorweave.locks import IN_USE, FolderInUseError, in_use

NAMES = ("a.txt", "b.txt", "c.txt", "memory")
OLD = {
    "a.txt": "old a",
    "c.txt": "old c",
    "memory/x": "old x",
    "memory/only": "old",
    "mine": "kept",
}
NEW = {"a.txt": "new a", "b.txt": "new b", "memory/x": "new x", "mine": "kept"}


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def old_set(folder):
    for name, text in OLD.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def write_new(folder):
    with written_together(folder, NAMES) as aside:
        for name, text in NEW.items():
            if name != "mine":
                (aside / name).parent.mkdir(exist_ok=True)
                (aside / name).write_text(text)


def test_a_new_set_takes_the_place_of_the_old_one_and_the_rest_stays(tmp_path):
    write_new(old_set(tmp_path))
    assert content(tmp_path) == NEW
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "b.txt", "memory", "mine"}


def test_a_folder_is_made_and_not_left_if_nothing_comes_of_it(tmp_path):
    write_new(tmp_path / "new" / "folder")
    assert content(tmp_path / "new" / "folder") == {k: v for k, v in NEW.items() if k != "mine"}
    with pytest.raises(OSError, match="full"), written_together(tmp_path / "none", NAMES):
        raise OSError("disk full")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("after", range(3))
def test_an_error_between_any_two_writes_leaves_the_old_set(tmp_path, after):
    old_set(tmp_path)
    with pytest.raises(OSError, match="full"), written_together(tmp_path, NAMES) as aside:
        for name in ("a.txt", "b.txt", "c.txt")[:after]:
            (aside / name).write_text("new")
        raise OSError("disk full")
    assert content(tmp_path) == OLD and not list(tmp_path.glob(".*"))


def test_a_name_that_is_not_of_the_set_is_refused(tmp_path):
    old_set(tmp_path)
    with (
        pytest.raises(ValueError, match="d.txt: not among the names of the set"),
        written_together(tmp_path, NAMES) as aside,
    ):
        (aside / "d.txt").write_text("new")
    assert content(tmp_path) == OLD


class KilledError(BaseException):
    pass


STEPS = ("replace", "unlink", "rmtree")


def killed_at(monkeypatch, step):
    """Lets the writer change the folder `step` times, and then no more, as if it were gone."""
    left = [step]

    def counted(change):
        def wrapped(*args, **kwargs):
            if left[0] == 0:
                raise KilledError
            left[0] -= 1
            return change(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(file_sets.os, "replace", counted(os.replace))
    monkeypatch.setattr(file_sets.Path, "unlink", counted(file_sets.Path.unlink))
    monkeypatch.setattr(file_sets.shutil, "rmtree", counted(shutil.rmtree))


def test_killed_anywhere_the_next_reader_finds_one_whole_set(tmp_path):
    """Every step at which the folder changes; the new set counts once the first rename is done."""
    seen = set()
    for step in range(40):
        folder = old_set(tmp_path / str(step))
        with pytest.MonkeyPatch.context() as patched:
            killed_at(patched, step)
            try:
                write_new(folder)
                done = True
            except KilledError:
                done = False
        # No lock of a dead process is in the way.
        (folder / IN_USE).unlink(missing_ok=True)
        for left in folder.glob(f".*{IN_USE}*"):
            left.unlink()
        # Whoever looks without us may miss files, but never sees files of both sets.
        kinds = {text.split()[0] for text in content(folder).values()} - {"kept"}
        assert len(kinds) <= 1, (step, content(folder))
        finish_set(folder)
        now = content(folder)
        assert now in (OLD, NEW), (step, now)
        seen.add("new" if now == NEW else "old")
        # And the next writer has its way, whatever was left.
        write_new(folder)
        assert content(folder) == NEW and not (folder / COMPLETE).exists()
        assert not list(folder.glob(".partial-*"))
        if done:
            break
    assert done and seen == {"old", "new"}


def test_a_process_that_is_killed_while_writing_leaves_the_old_set(tmp_path):
    old_set(tmp_path)
    code = (
        "import os, signal, sys\n"
        "from anchorweave.file_sets import written_together\n"
        "with written_together(sys.argv[1], ['a.txt', 'b.txt']) as aside:\n"
        "    (aside / 'a.txt').write_text('new a')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode < 0
    finish_set(tmp_path)
    assert content(tmp_path) == OLD
    write_new(tmp_path)
    assert content(tmp_path) == NEW and not list(tmp_path.glob(".*"))


def test_a_folder_where_another_run_works_is_refused(tmp_path, monkeypatch):
    with in_use(tmp_path):
        # As another process sees it.
        with monkeypatch.context() as patch, pytest.raises(FolderInUseError):
            patch.setattr(locks, "_HELD", [])
            with written_together(tmp_path, NAMES):
                pass
        # Nothing is to be finished, so reading waits for nobody.
        finish_set(tmp_path)


def test_a_run_writes_a_set_in_a_folder_that_it_holds(tmp_path):
    with in_use(tmp_path):
        write_new(tmp_path)
        assert (tmp_path / IN_USE).is_file()
    assert content(tmp_path) == {name: text for name, text in NEW.items() if name != "mine"}
    assert not list(tmp_path.glob(".*"))


def test_files_of_two_runs_are_named(tmp_path):
    one, other = tmp_path / "results.json", tmp_path / "videos.csv"
    run, another = new_run(), new_run()
    assert run != another
    refuse_mixed({one: run, other: run})
    refuse_mixed({one: None, other: None})
    with pytest.raises(MixedSetError, match=f"results.json of run {run} and .*videos.csv of run"):
        refuse_mixed({one: run, other: another})
    with pytest.raises(MixedSetError, match="videos.csv of a run without an id"):
        refuse_mixed({one: run, other: None})

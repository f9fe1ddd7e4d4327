"""A folder belongs to one run at a time, and a dead run's folder to the next one."""

import json
import os
import signal
import subprocess
import sys

import pytest

from anchorweave import locks
from anchorweave.locks import (
    IN_USE,
    FolderInUseError,
    in_use,
    in_use_once,
    making,
    refuse_in_use,
)

HOLD = """
import sys, time
from anchorweave.locks import in_use
with in_use(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that works in a folder."""
    folder = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield folder, process
    process.kill()
    process.wait()


def test_it_is_ours_inside_and_free_after(tmp_path):
    with in_use(tmp_path / "a" / "b"):
        owner = json.loads((tmp_path / "a" / "b" / IN_USE).read_text())
        assert owner["pid"] == os.getpid()
        assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [IN_USE]
    # What a run that wrote nothing would leave: nothing.
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="disk"), in_use(tmp_path):
        raise OSError("disk")
    with in_use(tmp_path):
        pass


def test_a_folder_stays_ours_when_another_is_released(tmp_path, monkeypatch):
    # Locks that are taken within one second have the same text.
    owner = locks._owner()
    monkeypatch.setattr(locks, "_owner", lambda: owner)
    with in_use(tmp_path / "a"):
        with in_use(tmp_path / "b"):
            pass
        with in_use_once(tmp_path / "a"):
            pass
        assert (tmp_path / "a" / IN_USE).is_file()


def test_a_second_run_is_told_of_the_first(holder):
    folder, process = holder
    with pytest.raises(FolderInUseError, match=f"in use by .*process {process.pid} on"):
        with in_use(folder):
            pass
    with pytest.raises(FolderInUseError, match="wait for it, stop it, or name another folder"):
        refuse_in_use(folder)
    assert (folder / IN_USE).is_file()


@pytest.mark.parametrize("buried", [False, True])
def test_a_dead_run_is_taken_over(holder, buried):
    """Also where its parent has not asked how it ended, so that its number is still taken."""
    folder, process = holder
    os.kill(process.pid, signal.SIGKILL)
    if buried:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with in_use(folder):
        assert json.loads((folder / IN_USE).read_text())["pid"] == os.getpid()
    assert list(folder.iterdir()) == []


def changed(holder, **values):
    folder, _ = holder
    owner = json.loads((folder / IN_USE).read_text())
    (folder / IN_USE).write_text(json.dumps(owner | values))
    return folder


def test_a_number_that_went_to_another_process_is_no_owner(holder):
    with in_use(changed(holder, started="7")):
        pass


def test_a_machine_that_was_started_anew_has_no_such_process(holder):
    refuse_in_use(changed(holder, boot="another"))


@pytest.mark.parametrize("values", [{"host": "elsewhere"}, {"processes": "pid:[1]"}])
def test_what_cannot_be_seen_from_here_is_taken_for_alive(holder, values):
    with pytest.raises(FolderInUseError, match="if it has ended, remove .*in-use.json"):
        refuse_in_use(changed(holder, **values))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_lock_that_cannot_be_read_is_named(tmp_path, text):
    (tmp_path / IN_USE).write_text(text)
    with pytest.raises(FolderInUseError, match="cannot be read .* remove that file"):
        refuse_in_use(tmp_path)


def test_a_lock_that_another_run_holds_by_now_is_left_to_it(tmp_path):
    with in_use(tmp_path):
        (tmp_path / IN_USE).write_text("another's")
    assert (tmp_path / IN_USE).read_text() == "another's"


def test_a_folder_that_appears_whole_is_locked_beside_it(tmp_path):
    with making(tmp_path / "text"):
        assert not (tmp_path / "text").exists()
        with pytest.raises(FolderInUseError, match=r"\.text\.making is in use"):
            with making(tmp_path / "text"):
                pass
        (tmp_path / "text").mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
    # What a killed run leaves is taken over.
    (tmp_path / ".text.making").mkdir()
    with making(tmp_path / "text"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["text"]

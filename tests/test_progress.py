import io
import threading

import pytest

from anchorweave.progress import listening, progress, still_at_it


def test_lines_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr("anchorweave.progress.LINE_SECONDS", 0.0)
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    said = capsys.readouterr().err
    assert "letters: 1 of 3" in said and "letters: 2 of 3" in said
    assert list(progress(iter("ab"), "letters")) == ["a", "b"]
    assert "letters: 1, " in capsys.readouterr().err


def test_nothing_is_said_of_what_is_over_soon(capsys):
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("anchorweave.progress.SECONDS_UNSEEN", 0.0)
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    assert "letters:   0%" in terminal.getvalue() and "0/3" in terminal.getvalue()


def test_who_listens_hears_every_item_and_may_end_the_loop(capsys):
    heard = []
    with listening(lambda *said: heard.append(said)):
        for _ in progress("ab", "letters"):
            still_at_it()
        assert list(progress(iter("c"), "more")) == ["c"]
        # Another thread's steps are its own.
        other = threading.Thread(target=lambda: list(progress("xy", "others")))
        other.start()
        other.join()
    again = [("letters", i, 2) for i in (0, 0, 1, 1)]
    assert heard == [*again, ("more", 0, None)]
    still_at_it()
    assert list(progress("ab", "letters")) == ["a", "b"] and len(heard) == 5

    def ends(what, done, total):
        if done == 1:
            raise KeyboardInterrupt

    seen = []
    with listening(ends), pytest.raises(KeyboardInterrupt):
        for item in progress("abc", "letters"):
            seen.append(item)
    assert seen == ["a"] and capsys.readouterr().err == ""

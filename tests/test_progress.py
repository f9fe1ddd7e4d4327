import io

from anchorweave.progress import progress


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

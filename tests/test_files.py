import pytest

from anchorweave.files import atomic_write


def test_nothing_carries_the_final_name_before_the_body_ends(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path) as aside:
        aside.write_text("whole")
        assert aside.suffix == ".txt" and not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "whole"


@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_a_failed_write_leaves_what_was_there(tmp_path, kind):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), atomic_write(path) as aside:
        if kind == "file":
            aside.write_text("half")
        elif kind == "folder":
            aside.mkdir()
            (aside / "part").write_text("half")
        raise OSError("disk full")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"

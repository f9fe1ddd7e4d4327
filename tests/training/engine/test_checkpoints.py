import json
import re
import resource

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import save_file

from training.engine.checkpoints import MANIFEST, Checkpoints, damage


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", keep=2, accelerator=Accelerator(cpu=True))


def contents(value=1.0, size=1000):
    def write(folder):
        (folder / "controller").mkdir()
        save_file({"w": torch.full((size,), value)}, folder / "controller" / "w.safetensors")
        (folder / "progress.json").write_text(json.dumps({"value": value}))

    return write


def names(checkpoints):
    return [path.name for path in checkpoints.all()]


def test_the_newest_and_the_best_stay(checkpoints):
    for step in range(1, 6):
        checkpoints.save(step, contents(step), best=0.5 if step == 2 else None)
    assert names(checkpoints) == ["step-00000002", "step-00000004", "step-00000005"]
    assert checkpoints.best() == 0.5
    assert checkpoints.newest() == (checkpoints.path(5), [])
    checkpoints.save(6, contents(6), best=0.25)
    assert names(checkpoints) == ["step-00000005", "step-00000006"]
    assert checkpoints.best() == 0.25


def test_without_one_there_is_nothing_to_go_on_from(checkpoints):
    assert checkpoints.newest() == (None, [])
    assert checkpoints.best() == float("inf")


def cut_in_half(path):
    file = path / "controller" / "w.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def one_bit(path):
    file = path / "controller" / "w.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "harm, words",
    [
        (cut_in_half, "w.safetensors has .* bytes instead of"),
        (one_bit, "checksum"),
        (lambda path: (path / "progress.json").unlink(), "progress.json is missing"),
        (lambda path: (path / MANIFEST).unlink(), "never finished"),
        (lambda path: (path / MANIFEST).write_text("{"), "cannot be read"),
    ],
)
def test_a_damaged_one_is_named_and_passed_over(checkpoints, harm, words):
    checkpoints.save(1, contents(1))
    checkpoints.save(2, contents(2))
    harm(checkpoints.path(2))
    found, passed_over = checkpoints.newest()
    assert found == checkpoints.path(1)
    (message,) = passed_over
    assert "step-00000002 is damaged" in message and re.search(words, message)
    assert damage(found) is None


def test_nothing_but_damaged_ones_is_an_error_and_no_new_start(checkpoints):
    checkpoints.save(1, contents())
    cut_in_half(checkpoints.path(1))
    with pytest.raises(
        ValueError, match="no checkpoint to resume from.*Remove .* to start from scratch"
    ):
        checkpoints.newest()


def test_a_full_disk_loses_nothing_earlier(checkpoints):
    checkpoints.save(1, contents(1), best=0.5)
    before = {p: p.read_bytes() for p in checkpoints.path(1).rglob("*") if p.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Files may not grow past this many bytes: the same error path as a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="earlier ones are unchanged"):
            checkpoints.save(2, contents(2, size=1_000_000), best=0.1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(checkpoints) == ["step-00000001"]
    assert not list(checkpoints.folder.glob(".partial-*"))
    assert {p: p.read_bytes() for p in before} == before
    assert checkpoints.best() == 0.5
    checkpoints.save(2, contents(2))
    assert checkpoints.newest() == (checkpoints.path(2), [])


def test_what_a_killed_run_was_writing_is_no_checkpoint_and_is_cleared(checkpoints):
    left = checkpoints.folder / ".partial-step-00000009"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"x")
    assert checkpoints.newest() == (None, [])
    checkpoints.save(1, contents())
    assert not left.exists()


def test_a_step_that_is_reached_again_replaces_the_old_one(checkpoints):
    checkpoints.save(3, contents(1.0))
    checkpoints.save(3, contents(2.0))
    assert json.loads((checkpoints.path(3) / "progress.json").read_text()) == {"value": 2.0}
    assert damage(checkpoints.path(3)) is None


def test_a_flipped_bit_of_the_manifest_never_ends_the_search(checkpoints):
    """Whichever bit it is: the checkpoint is passed over, or still right."""
    checkpoints.save(1, contents(1))
    checkpoints.save(2, contents(2, size=3))
    manifest = checkpoints.path(2) / MANIFEST
    whole = manifest.read_bytes()
    passed_over = 0
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            manifest.write_bytes(flipped)
            found, messages = checkpoints.newest()
            assert found in (checkpoints.path(1), checkpoints.path(2))
            passed_over += bool(messages)
    # The others stand in white space and in the number of the step.
    assert passed_over > 0.8 * 8 * len(whole)


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff\xfe", b"[]", b"{}", b'{"files": 3}', b'{"files": {}}', b'{"files": {"a": 3}}']
    + [b'{"files": {"progress.json": [1, 2], "a\\u0000": [1, 2]}}'],
)
def test_a_manifest_that_is_none_is_damage(checkpoints, text):
    checkpoints.save(1, contents(1))
    (checkpoints.path(1) / MANIFEST).write_bytes(text)
    assert damage(checkpoints.path(1)) is not None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"checkpoint": "step-00000002", "loss": NaN}', "\0\0\0"]
)
def test_a_record_of_the_best_that_cannot_be_read_is_told_by_the_checkpoints(
    checkpoints, text, capsys
):
    checkpoints.save(1, contents(1), best=0.75)
    checkpoints.save(2, contents(2), best=0.5)
    checkpoints.save(3, contents(3))
    (checkpoints.folder / "best.json").write_text(text)
    assert checkpoints.best() == 0.5
    assert "best.json cannot be read" in (said := capsys.readouterr().out)
    assert "it is step-00000002 (loss 0.5)" in said
    # It still stays while others go.
    checkpoints.save(4, contents(4))
    checkpoints.save(5, contents(5))
    assert names(checkpoints) == ["step-00000002", "step-00000004", "step-00000005"]


def test_without_any_that_was_measured_there_is_no_best(checkpoints, capsys):
    checkpoints.save(1, contents(1))
    (checkpoints.folder / "best.json").write_text("")
    assert checkpoints.best() == float("inf")
    assert "no existing checkpoint has a validation loss" in capsys.readouterr().out


def test_a_branch_that_was_given_up_goes_when_the_run_has_come_as_far_again(checkpoints):
    for step in (4, 8, 12):
        checkpoints.save(step, contents(step))
    checkpoints.set_aside_after(checkpoints.path(8))
    given_up = lambda: sorted(p.name for p in checkpoints.folder.glob("given-up-*"))  # noqa: E731
    assert given_up() == ["given-up-step-00000012"]
    checkpoints.save(10, contents(10))
    assert given_up() == ["given-up-step-00000012"]
    checkpoints.save(12, contents(12))
    assert given_up() == []


def test_a_loss_that_is_not_the_one_that_was_measured_is_said(checkpoints, capsys):
    for step, loss in ((1, 0.5), (2, 0.25)):
        checkpoints.save(step, contents(step), best=loss)
    best = checkpoints.folder / "best.json"
    best.write_text(best.read_text().replace("0.25", "0.05"))
    assert checkpoints.best() == 0.25
    assert "a loss of 0.05, of which step-00000002 says 0.25" in capsys.readouterr().out
    manifest = checkpoints.path(2) / MANIFEST
    manifest.write_text(manifest.read_text().replace("0.25", "0.15"))
    assert "checksum differs" in damage(checkpoints.path(2))
    assert checkpoints.best() == 0.5

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anchorweave.datasets.encoded_clip import read_made, read_tensors, write_tensors
from anchorweave.datasets.layout import BadClip


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "latents.safetensors"
    values = {"a": torch.arange(600.0).reshape(20, 30).half() / 600, "b": torch.tensor([True])}
    write_tensors(path, values, {"z": 1, "a": None, "m": [1, 2]})
    return path


def test_floats_come_back_in_float32_and_others_as_they_are(file):
    read = read_tensors(file, ("a", "b"))
    assert read["a"].dtype == torch.float32 and read["b"].dtype == torch.bool
    assert torch.equal(read["a"], (torch.arange(600.0).reshape(20, 30) / 600).half().float())
    assert read_made(file) == {"z": 1, "a": None, "m": [1, 2]}


def test_the_same_tensors_are_the_same_bytes_and_anyone_may_read_them(file, tmp_path):
    values = {"b": torch.tensor([True]), "a": torch.arange(600.0).reshape(20, 30).half() / 600}
    write_tensors(tmp_path / "again", values, {"m": [1, 2], "a": None, "z": 1})
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("left", [0, 4, 60, 700])
def test_a_file_cut_anywhere_is_a_bad_clip(file, left):
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(BadClip, match="latents.safetensors cannot be read") as caught:
        read_tensors(file, ("a",))
    assert caught.value.path == file.parent


def test_what_is_missing_or_not_finite_is_named(file):
    with pytest.raises(BadClip, match=r"lacks \['c'\]; it holds \['a', 'b'\]"):
        read_tensors(file, ("a", "c"))
    with pytest.raises(BadClip, match="nothing.safetensors is missing"):
        read_tensors(file.with_name("nothing.safetensors"), ("a",))
    save_file({"a": torch.tensor([1.0, float("nan")])}, file)
    with pytest.raises(BadClip, match="a has values that are not finite"):
        read_tensors(file, ("a",))


def test_values_that_the_storage_cannot_hold_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="a has values that are not finite in torch.float16"):
        write_tensors(tmp_path / "x", {"a": torch.tensor([1e6]).half()}, {})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(path, data):
        path.open("wb").write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(tmp_path / "x", {"a": torch.ones(9)}, {})
    assert not list(tmp_path.iterdir())

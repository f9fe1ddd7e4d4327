"""One flipped bit in what is stored is met where it is read."""

import json

import pytest
import torch
from safetensors.torch import save_file

from anchorweave.datasets.encoded_clip import keeps_sums, read_made, read_tensors, write_tensors
from anchorweave.datasets.layout import BadClip


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "latents.safetensors"
    tensors = {
        "target": torch.arange(64.0).to(torch.bfloat16).view(2, 32),
        "seen": torch.ones(3, 5, dtype=torch.bool),
        "none": torch.zeros(0, 4),
    }
    write_tensors(path, tensors, {"vae": "abc", "tile": None})
    return path


def flipped(path, at, bit=1):
    stored = bytearray(path.read_bytes())
    stored[at] ^= bit
    path.write_bytes(bytes(stored))


def test_what_is_whole_is_read_and_says_what_it_was_made_with(file):
    read = read_tensors(file, ("target", "seen", "none"))
    assert torch.equal(read["target"], torch.arange(64.0).view(2, 32)) and read["seen"].all()
    assert read_made(file) == {"vae": "abc", "tile": None} and keeps_sums(file)


def test_a_flipped_bit_of_a_tensor_is_named(file):
    flipped(file, -1)
    with pytest.raises(BadClip, match="is corrupt .*precompute it again"):
        read_tensors(file, ("target", "seen", "none"))


def test_a_flipped_bit_of_what_it_was_made_with_is_named(file):
    flipped(file, file.read_bytes().index(b"abc"))
    with pytest.raises(BadClip, match="header is corrupt"):
        read_made(file)


def test_files_without_sums_are_read_as_they_are(tmp_path):
    path = tmp_path / "latents.safetensors"
    save_file({"target": torch.ones(3)}, path, metadata={"made": json.dumps({"vae": "abc"})})
    assert read_made(path) == {"vae": "abc"} and not keeps_sums(path)
    assert torch.equal(read_tensors(path, ("target",))["target"], torch.ones(3))

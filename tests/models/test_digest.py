import pytest
import torch

from anchorweave.models import digest
from anchorweave.models.digest import module_digest, weights_digest


def test_weights_are_told_apart_by_content_name_and_size(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "SAMPLES", 4)
    monkeypatch.setattr(digest, "SAMPLE_BYTES", 16)
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(range(200)))
    before = weights_digest(tmp_path)
    (tmp_path / "README.md").write_text("is no weight")
    assert weights_digest(tmp_path) == before
    for changed in (bytes(200), bytes(range(201)), bytes(range(199)) + b"x"):
        file.write_bytes(changed)
        assert weights_digest(tmp_path) != before
    file.write_bytes(bytes(range(200)))
    file.rename(tmp_path / "other.safetensors")
    assert weights_digest(tmp_path) != before
    with pytest.raises(FileNotFoundError, match="contains no weights"):
        weights_digest(tmp_path / "nothing")


def test_weights_in_memory_are_told_apart_by_every_value():
    module = torch.nn.Linear(3, 2)
    before = module_digest(module)
    assert module_digest(module.bfloat16().float()) != before
    module.weight.data[1, 2] += 1
    assert module_digest(module) != before

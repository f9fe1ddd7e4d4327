"""Parity with tensors recorded from the released code."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.golden.compare import compare, main

ROOT = Path(__file__).parents[2]
FIRST_LAYER = ROOT / "tests/golden/weaving_first_layer.safetensors"
WHOLE = ROOT.parent / "shared/golden/weaving_reference.safetensors"


def test_the_first_layer_equals_the_recording(capsys):
    assert main([str(FIRST_LAYER)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    report = json.loads(lines[0])
    assert report["control"] <= 1e-4 and report["camera"] <= 1e-4
    assert report["visible_tokens"] == 0
    assert report["backbone"] is None


@pytest.mark.skipif(not WHOLE.is_file(), reason=f"no whole recording at {WHOLE}")
def test_the_whole_recording_backbone_included():
    report = compare(WHOLE)
    assert report.keys() == {
        "control",
        "camera",
        "backbone",
        "backbone_without_control",
        "visible_tokens",
    }
    assert max(report.values()) <= 1e-4, report


def altered(path, change):
    tensors = load_file(FIRST_LAYER)
    metadata = {"controller": json.dumps(change(tensors))}
    save_file(tensors, path, metadata=metadata)
    return path


def arguments(**changes):
    sizes = {
        "num_attention_heads": 2,
        "attention_head_dim": 64,
        "num_layers": 1,
        "out_proj_dim": 128,
        "time_embed_dim": 64,
        "text_embed_dim": 32,
    }
    return sizes | changes


def test_the_comparison_can_fail(tmp_path):
    def change(tensors):
        tensors["controller.confidence_net.6.bias"] += 1.0
        tensors["inputs.holes"] = 1 - tensors["inputs.holes"]
        tensors["outputs.camera.0"][0, 0, 0] = float("nan")
        return arguments()

    report = compare(altered(tmp_path / "other.safetensors", change))
    assert report["control"] > 1e-4
    assert not report["camera"] <= 1e-4
    assert report["visible_tokens"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: arguments(num_layers=2), "missing: transformer_blocks.1"),
        (lambda tensors: arguments(depth=3), "arguments not known here: depth"),
        (lambda tensors: (tensors.pop("inputs.holes"), arguments())[1], "missing inputs holes"),
        (lambda tensors: (tensors.pop("outputs.camera.0"), arguments())[1], "outputs.camera.0"),
        (
            lambda tensors: (tensors.update({"extra.x": torch.zeros(1)}), arguments())[1],
            "'extra.x' is in none of",
        ),
    ],
)
def test_wrong_keys_are_named(tmp_path, capsys, change, message):
    assert main([str(altered(tmp_path / "wrong.safetensors", change))]) == 1
    assert message in capsys.readouterr().err


def test_a_missing_or_unreadable_file_is_named(tmp_path, capsys):
    assert main([str(tmp_path / "absent.safetensors")]) == 1
    assert "no recorded tensors at" in capsys.readouterr().err
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    assert main([str(tmp_path / "noise.safetensors")]) == 1
    assert "no safetensors file" in capsys.readouterr().err
    save_file({"inputs.x": torch.zeros(1)}, tmp_path / "bare.safetensors")
    assert main([str(tmp_path / "bare.safetensors")]) == 1
    assert "no 'controller'" in capsys.readouterr().err
    assert main([]) == 2

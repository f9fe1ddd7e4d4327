"""The tiny model: deterministic, small, and of the 5B's shape."""

import json

import pytest
import torch
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers.utils import logging as transformers_logging

from anchorweave.models.notes import weights_note
from anchorweave.models.small import tiny
from anchorweave.models.small.tiny import tiny_components, write_tiny
from anchorweave.pipelines import AnchorWeavePipeline

SHAPE = {"frames": 5, "size": (16, 32)}


def weights(parts) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": tensor
        for name, part in parts.items()
        if isinstance(part, nn.Module)
        for key, tensor in part.state_dict().items()
    }


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = weights(tiny_components(seed=0, **SHAPE))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert same(first, weights(tiny_components(seed=0, **SHAPE)))
    assert not same(first, weights(tiny_components(seed=1, **SHAPE)))


def test_it_has_the_shape_of_the_5b_and_is_small():
    parts = tiny_components()
    config = parts["transformer"].config
    assert (config.in_channels, config.out_channels) == (32, 16)
    assert config.use_rotary_positional_embeddings and config.use_learned_positional_embeddings
    assert config.patch_size_t is None and config.ofs_embed_dim is None
    assert config.attention_head_dim == 64 and config.patch_size == 2
    # The table of positions holds the text's tokens too, so their number must be told.
    assert config.max_text_seq_length == 32
    assert parts["transformer"].patch_embed.pos_embedding.shape[1] == 32 + 7 * 4 * 6
    assert parts["scheduler"].config.prediction_type == "v_prediction"
    assert parts["scheduler"].config.timestep_spacing == "trailing"
    assert parts["vae"].config.temporal_compression_ratio == 4
    assert len(parts["vae"].config.block_out_channels) == 4
    sizes = {
        name: sum(tensor.numel() for tensor in part.parameters())
        for name, part in parts.items()
        if isinstance(part, nn.Module)
    }
    assert sizes["vae"] < 1.5e6 and sum(sizes.values()) < 14e6


def test_a_written_folder_loads_as_the_pipeline_it_was_made_from(tmp_path):
    path = write_tiny(tmp_path / "models" / "tiny", seed=3, **SHAPE)
    loaded = AnchorWeavePipeline.from_pretrained(path)
    # The fixed table of positions is made in float64; a folder opens in one precision.
    made = {key: value.float() for key, value in weights(tiny_components(seed=3, **SHAPE)).items()}
    assert same(weights(loaded.components), made)
    assert loaded.tokenizer("a kitchen").input_ids == tiny.tiny_tokenizer()("a kitchen").input_ids
    assert [entry.name for entry in path.parent.iterdir()] == ["tiny"]
    AnchorWeavePipeline(**tiny_components(seed=3, **SHAPE)).save_pretrained(tmp_path / "saved")
    written, saved = (
        json.loads((folder / "model_index.json").read_text())
        for folder in (path, tmp_path / "saved")
    )
    # What is saved again may have been trained in between.
    assert written.pop("_weights") == "random (untrained)"
    assert written == saved
    loaded.save_pretrained(tmp_path / "again")
    assert weights_note(path) == "random (untrained)"
    assert weights_note(tmp_path / "again") is None


def test_writing_shows_no_bars_and_leaves_them_on_for_others(tmp_path, capfd):
    write_tiny(tmp_path / "tiny", **SHAPE)
    assert capfd.readouterr() == ("", "")
    assert transformers_logging.is_progress_bar_enabled()
    assert diffusers_logging.is_progress_bar_enabled()


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(FileExistsError, match="exists"):
        write_tiny(tmp_path, **SHAPE)
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(tiny.CogVideoXTransformer3DModel, "save_pretrained", full)
    with pytest.raises(OSError, match="no space"):
        write_tiny(tmp_path / "tiny", **SHAPE)
    assert list(tmp_path.iterdir()) == []

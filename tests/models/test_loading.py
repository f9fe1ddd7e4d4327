import pytest
import torch

from anchorweave.models.loading import ModelParts
from tests.training.clips import write_model


def test_parts_of_a_folder_come_one_by_one_in_the_asked_type(tmp_path):
    parts = ModelParts(write_model(tmp_path / "model"), frames=9, size=(32, 48))
    assert parts.backbone(torch.bfloat16).dtype == torch.bfloat16
    assert parts.vae(torch.float32).dtype == torch.float32
    alpha_bar = parts.process().alpha_bar
    assert alpha_bar.shape == (1000,) and alpha_bar.dtype == torch.float32
    # v-prediction with zero signal at the end, as CogVideoX has it.
    assert alpha_bar[-1] == 0 and alpha_bar[0] > 0.99 and (alpha_bar.diff() < 0).all()


def test_tiny_is_of_the_size_that_is_asked_for():
    parts = ModelParts("tiny", frames=5, size=(32, 64))
    config = parts.backbone(torch.float32).config
    assert (config.sample_frames, config.sample_height, config.sample_width) == (5, 4, 8)
    assert parts.process().total == 1000


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model at .*pretrained/README.md"):
        ModelParts(tmp_path, frames=5, size=(32, 64))


def test_a_scheduler_of_other_predictions_is_refused(tmp_path):
    path = write_model(tmp_path / "model")
    file = path / "scheduler" / "scheduler_config.json"
    file.write_text(file.read_text().replace('"v_prediction"', '"epsilon"'))
    with pytest.raises(ValueError, match="prediction_type=epsilon, but .* predict v"):
        ModelParts(path, frames=9, size=(32, 48)).process()

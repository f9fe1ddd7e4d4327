import pytest
import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
)

from anchorweave.models.captioner import Captioner

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "a", "room", "with", "chair"]
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "projection_dim": 8,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A captioning model that knows four words, and prefers one of them."""
    path = tmp_path_factory.mktemp("captioner")
    text = {
        **SMALL,
        "vocab_size": len(WORDS),
        "encoder_hidden_size": 16,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "max_position_embeddings": 64,
    }
    config = BlipConfig(
        text_config=text, vision_config={**SMALL, "image_size": 32, "patch_size": 16}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BlipForConditionalGeneration(config)
    model.text_decoder.cls.predictions.bias.data[WORDS.index("room")] = 9.0
    model.save_pretrained(path)
    images = BlipImageProcessorPil(size={"height": 32, "width": 32})
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)})
    BlipProcessor(images, tokenizer).save_pretrained(path)
    return path


def test_a_video_is_described_in_the_models_words_and_always_the_same(folder):
    caption = Captioner(str(folder), torch.device("cpu"))
    frames = torch.rand(5, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    said = caption(frames)
    assert set(said.split()) <= {"a", "room", "with", "chair"} and "room" in said
    assert caption(frames) == said


def test_a_model_that_is_not_here_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="cannot be loaded .*give a folder"):
        Captioner(str(tmp_path), torch.device("cpu"))

import pytest
import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPImageProcessorPil,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
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


@pytest.fixture(scope="module")
def video_folder(tmp_path_factory):
    """A captioning model of videos: it is shown three frames at once."""
    path = tmp_path_factory.mktemp("video_captioner")
    vision = {key: value for key, value in SMALL.items() if key != "projection_dim"}
    config = GitConfig(
        vision_config={**vision, "image_size": 32, "patch_size": 16},
        **vision,
        vocab_size=len(WORDS),
        max_position_embeddings=64,
        bos_token_id=2,
        eos_token_id=3,
        num_image_with_embedding=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GitForCausalLM(config)
        # What frames are shown, and which of them is which, makes a difference.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.5)
    model.output.bias.data[:5] = -99.0
    model.save_pretrained(path)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)})
    GitProcessor(images, tokenizer).save_pretrained(path)
    return path


def test_a_video_model_is_shown_frames_of_all_parts(video_folder):
    captioner = Captioner(str(video_folder), torch.device("cpu"))
    assert captioner.looks_at(9) == [1, 4, 7] and captioner.looks_at(1) == [0, 0, 0]
    frames = torch.rand(9, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    said = captioner(frames)
    assert said == captioner.describe([frames[1], frames[4], frames[7]]) != ""
    unseen = frames.clone()
    unseen[0] = unseen[5] = 0
    assert captioner(unseen) == said
    others = [captioner.describe(list(frames[i : i + 3])) for i in range(6)]
    assert len({said, *others}) > 1


def test_an_image_model_is_shown_the_middle(folder):
    captioner = Captioner(str(folder), torch.device("cpu"))
    assert captioner.looks_at(5) == [2] and captioner.looks_at(4) == [2]

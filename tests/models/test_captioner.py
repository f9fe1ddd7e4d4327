import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
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


ASKED = ["<unk>", "<s>", "</s>", "<pad>", "<image>", "Q:", "A:", "what", "where"]
TEMPLATE = (
    "{% for m in messages %}Q: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
)


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory):
    """A chat model: it is shown images and asked in words, and answers in words."""
    path = tmp_path_factory.mktemp("chat")
    words = [*ASKED, "a", "room", "with", "chair"]
    vision = CLIPVisionConfig(**{**SMALL, "num_hidden_layers": 2}, image_size=32, patch_size=16)
    text = {key: value for key, value in SMALL.items() if key != "projection_dim"}
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(vocab_size=len(words), num_key_value_heads=2, **text),
        image_token_id=ASKED.index("<image>"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.5)
    # It can say nothing but words; the last layer has no bias, so its rows point elsewhere.
    model.lm_head.weight.data[: len(ASKED)] = 0
    model.save_pretrained(path)
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
        extra_special_tokens={"image_token": "<image>"},
    )
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    LlavaProcessor(
        images,
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(path)
    return path


def test_a_chat_model_is_shown_frames_and_asked(chat_folder):
    captioner = Captioner(str(chat_folder), torch.device("cpu"), "what a room", 3)
    assert captioner.looks_at(9) == [1, 4, 7]
    frames = torch.rand(9, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    said = captioner(frames)
    # The answer alone, not what was asked, in one line.
    assert said and set(said.split()) <= {"a", "room", "with", "chair"}
    assert captioner(frames) == said
    others = {captioner.describe(list(frames[i : i + 3])) for i in range(6)}
    assert len({said, *others}) > 1
    asked = Captioner(str(chat_folder), torch.device("cpu"), "where where with chair", 3)
    assert len({asked.describe(list(frames[i : i + 3])) for i in range(6)} - others) > 0
    assert len(Captioner(str(chat_folder), torch.device("cpu")).looks_at(100)) == 8


def test_a_model_that_is_not_asked_refuses_a_question(folder):
    with pytest.raises(ValueError, match="has no chat template and accepts no prompt"):
        Captioner(str(folder), torch.device("cpu"), question="what is there?")
    with pytest.raises(ValueError, match="leave out the question"):
        Captioner(str(folder), torch.device("cpu"), frames=4)


def test_a_package_that_a_processor_lacks_is_named(folder, monkeypatch):
    def lacking(*args, **kwargs):
        raise ImportError("\nThing requires the Torchvision library")

    monkeypatch.setattr("anchorweave.models.captioner.AutoProcessor.from_pretrained", lacking)
    with pytest.raises(FileNotFoundError, match="requires the Torchvision library"):
        Captioner(str(folder), torch.device("cpu"))

"""Prompts to features, and what is said when a prompt is cut."""

import warnings

import pytest
import torch
from diffusers import CogVideoXImageToVideoPipeline
from transformers import T5Tokenizer

from anchorweave.models.codec.t5_text import T5Text, cut_text
from anchorweave.models.small.tiny import TEXT_TOKENS, tiny_components, tiny_tokenizer
from tests.alike import alike

WORDS = ["kitchen", "kitchens", "Kitchen", "table", "zebra", "quux", "a", "b"]


@pytest.fixture(scope="module")
def parts():
    return tiny_components(frames=5, size=(16, 16))


def test_words_are_told_apart_and_stay_so_in_a_folder(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    ids = [tuple(tokenizer(word).input_ids) for word in WORDS]
    assert len(set(ids)) == len(WORDS)
    assert not any(tokenizer.unk_token_id in word for word in ids)
    again = T5Tokenizer.from_pretrained(tmp_path)
    assert [tuple(again(word).input_ids) for word in WORDS] == ids


@torch.no_grad()
def test_features_are_diffusers_own(parts):
    pipeline = CogVideoXImageToVideoPipeline(
        **{name: part for name, part in parts.items() if name != "controller"}
    )
    prompts = ["a bright kitchen", "", "two zebras"]
    theirs = pipeline._get_t5_prompt_embeds(prompts, max_sequence_length=TEXT_TOKENS)
    ours = T5Text(parts["tokenizer"], parts["text_encoder"]).encode(prompts, TEXT_TOKENS)
    assert ours.shape == (3, TEXT_TOKENS, 64)
    assert alike(ours, theirs)
    assert not torch.allclose(ours[0], ours[2])


@torch.no_grad()
def test_a_cut_prompt_warns_with_what_was_cut(parts):
    prompt = "kitchen " * 6 + "table chair"
    with pytest.warns(UserWarning, match="truncated by: 'table chair'"):
        cut = T5Text(parts["tokenizer"], parts["text_encoder"]).encode(["a", prompt], 7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = T5Text(parts["tokenizer"], parts["text_encoder"]).encode(["kitchen " * 6], 7)
    torch.testing.assert_close(cut[1:], whole)


@pytest.mark.parametrize(
    ("length", "cut"), [(2, "kitchen table lamp"), (4, "lamp"), (5, ""), (6, "")]
)
def test_the_end_mark_takes_one_token(length, cut):
    assert cut_text(tiny_tokenizer(), "a kitchen table lamp", length) == cut

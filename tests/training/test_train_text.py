"""Training a small T5 on a few captions, in this process."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import T5EncoderModel, T5Tokenizer, UMT5EncoderModel

from anchorweave.datasets.fingerprint import FingerprintError
from anchorweave.locks import FolderInUseError, making
from anchorweave.models.codec.t5_text import T5Text
from anchorweave.models.codec.umt5_text import UMT5Text
from anchorweave.models.small.text import IGNORED
from anchorweave.models.small.tiny import TEXT_TOKENS, WORDS
from tests.alike import assert_trained_alike
from tests.training.small_data import write_room
from training.small_models.text_samples import PROMPTS, batched, frequent_words, varied, with_gaps
from training.train_text import main

CAPTIONS = (
    "a room with a zebra, a red wall and a tiled floor",
    "a room with green walls, a wooden floor and a zebra",
    "a quiet garden with a white wall, plants and a bed",
)
STEPS = 80


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for i, caption in enumerate(CAPTIONS):
        write_room(folder / str(i), count=1, caption=caption)
    return folder


def words(rooms, output, *more):
    shape = ["text.channels=32", "text.layers=1", "text.heads=2", "text.hidden=32"]
    sources = [f"source={rooms}", f"validation={rooms / '0'}", f"output={output}"]
    return [*sources, f"steps={STEPS}", "warmup=2", "batch=8", "learning_rate=0.02", *shape, *more]


@pytest.fixture(scope="module")
def trained(rooms, tmp_path_factory):
    output = tmp_path_factory.mktemp("text") / "text"
    before = torch.get_rng_state()
    main(words(rooms, output))
    assert torch.equal(torch.get_rng_state(), before)
    return output


@pytest.fixture(scope="module")
def tokenizer(trained):
    return T5Tokenizer.from_pretrained(trained / "tokenizer")


def test_different_words_have_different_ids(tokenizer, tmp_path):
    known = frequent_words(CAPTIONS, WORDS, 512)
    assert "zebra" in known and "spirals" in known
    ids = [tuple(tokenizer(word, add_special_tokens=False).input_ids) for word in known]
    assert {len(word) for word in ids} == {1} and len(set(ids)) == len(known)
    tokenizer.save_pretrained(tmp_path)
    again = T5Tokenizer.from_pretrained(tmp_path)
    assert [tuple(again(word, add_special_tokens=False).input_ids) for word in known] == ids
    assert again.model_max_length == TEXT_TOKENS


def test_unknown_words_are_spelled(tokenizer):
    tokens = tokenizer("a quokka and a zorilla", add_special_tokens=False).input_ids
    assert tokenizer.unk_token_id not in tokens and len(tokens) > 10
    assert tokenizer.decode(tokens) == "a quokka and a zorilla"


@torch.no_grad()
def test_the_encoder_opens_and_tells_captions_apart(trained, tokenizer):
    encoder, loading = T5EncoderModel.from_pretrained(
        trained / "text_encoder", output_loading_info=True
    )
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert encoder.config.vocab_size == len(tokenizer) == len(encoder.shared.weight)
    features = T5Text(tokenizer, encoder).encode([*CAPTIONS, "", "a quokka"], TEXT_TOKENS)
    assert features.shape == (5, TEXT_TOKENS, 32) and features.isfinite().all()
    for i in range(5):
        for j in range(i):
            assert (features[i] - features[j]).abs().max() > 0.01


def test_training_fills_gaps_better(trained, tokenizer):
    results = json.loads((trained / "results.json").read_text())
    assert results["steps"] == STEPS and results["vocabulary"] == len(tokenizer)
    assert (results["captions"], results["captions_held_out"]) == (3, 1)
    assert results["loss_held_out"] < 0.5 * results["loss_held_out_untrained"]
    assert results["accuracy_held_out"] > results["accuracy_held_out_untrained"]
    encoder = T5EncoderModel.from_pretrained(trained / "text_encoder")
    assert results["parameters"] == sum(p.numel() for p in encoder.parameters())


def test_the_same_config_gives_the_same_weights(rooms, trained, tmp_path):
    main(words(rooms, tmp_path / "text"))
    again, first = (
        load_file(f / "text_encoder/model.safetensors") for f in (tmp_path / "text", trained)
    )
    assert_trained_alike(again, first, 0.02)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_second_run_finds_it_there(rooms, trained, capsys):
    before = (trained / "results.json").stat().st_mtime_ns
    main(words(rooms, trained))
    assert "already exists" in capsys.readouterr().out
    assert (trained / "results.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("word", "message"),
    [("drop=0.2", "drop: 0.1 there, 0.2 now"), ("text.layers=2", "text.layers: 1 there, 2 now")],
)
def test_what_was_made_otherwise_is_refused(rooms, trained, word, message):
    with pytest.raises(FingerprintError, match=f"another output=(.|\n)*{message}"):
        main(words(rooms, trained, word))


def test_a_folder_of_something_else_is_refused(rooms, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match=r"contains no config\.yaml"):
        main(words(rooms, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_two_do_not_train_the_same_one(rooms, tmp_path):
    with making(tmp_path / "text"), pytest.raises(FolderInUseError, match="text.making is in use"):
        main(words(rooms, tmp_path / "text"))
    assert not list(tmp_path.iterdir())


def test_a_recording_without_a_caption_is_named(tmp_path):
    write_room(tmp_path / "rooms" / "silent", count=1, caption=None)
    with pytest.raises(FileNotFoundError, match=r"silent.*no caption\.txt"):
        main(words(tmp_path / "rooms", tmp_path / "out", f"validation={tmp_path / 'rooms'}"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("steps=0", "steps=0"),
        ("batch=0", "batch=0"),
        ("gaps=0", "gaps=0"),
        ("drop=0.9", "drop=0.9"),
        ("prompts=1.5", "prompts=1.5"),
        ("text.heads=3", "divisible by text.heads=3"),
        ("vocabulary=20", "vocabulary=20 is below"),
        ("source=nowhere", "nowhere: no such file"),
    ],
)
def test_bad_input_leaves_nothing_behind(rooms, tmp_path, word, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        main(words(rooms, tmp_path / "text", word))
    assert not list(tmp_path.iterdir())


def test_the_commonest_words_of_captions_come_first():
    start = len(frequent_words([], WORDS, 1000))
    kept = frequent_words(["aardvark zebra", "zebra"], WORDS, start + 1)
    assert kept[:3] == WORDS[:3] and kept[-1] == "zebra" and "aardvark" not in kept


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("length", [1, 5, 31])
def test_gaps_can_be_filled_from_what_is_missing(seed, length):
    tokens = list(range(10, 10 + length))
    text, target = with_gaps(tokens, np.random.default_rng(seed), 0.3, 100, marks=8)
    assert text[-1] == target[-1] == 1
    marks = [token for token in text if token >= 100]
    assert 1 <= len(marks) <= 8 and marks == list(range(100, 100 + len(marks)))
    missing = {}
    for token in target[:-1]:
        if token >= 100:
            missing[token] = []
            last = missing[token]
        else:
            last.append(token)
    filled = [part for token in text[:-1] for part in missing.get(token, [token])]
    assert filled == tokens
    assert len(target) - 1 - len(marks) >= math.ceil(0.3 * length)


def test_no_more_gaps_than_marks():
    text, _ = with_gaps(list(range(10, 41)), np.random.default_rng(0), 0.9, 100, marks=2)
    assert sum(token >= 100 for token in text) <= 2


def test_batches_are_padded_as_prompts_are():
    texts, targets = batched([([5, 1], [100, 1]), ([6, 7, 1], [100, 8, 1])], 4)
    assert texts.tolist() == [[5, 1, 0, 0], [6, 7, 1, 0]]
    assert targets.tolist() == [[100, 1, IGNORED], [100, 8, 1]]


def test_varied_texts_keep_their_clauses_in_any_order():
    rng = np.random.default_rng(0)
    seen = {varied("a b, c d, e", rng, 0.0, 0.0, ["x"]) for _ in range(50)}
    assert len(seen) == 6
    assert {frozenset(text.split(", ")) for text in seen} == {frozenset(["a b", "c d", "e"])}
    prompted = varied("a", rng, 0.0, 1.0, ["x"]).split(", ")
    prompts = [set(prompt.split(", ")) for prompt in PROMPTS]
    assert any(set(prompted) == {"a", *prompt} for prompt in prompts)


def test_words_are_dropped_and_replaced_in_their_shares():
    text = " ".join(["word"] * 4000)
    changed = varied(text, np.random.default_rng(0), 0.2, 0.0, ["other"]).split()
    assert len(changed) == pytest.approx(3200, abs=100)
    assert changed.count("other") == pytest.approx(400, abs=80)
    assert varied("word", np.random.default_rng(3), 1.0, 0.0, ["other"]) == "word"


def test_a_umt5_learns_as_well_and_is_read_by_wan(rooms, tmp_path):
    main(words(rooms, tmp_path / "text", "text.kind=umt5"))
    encoder = UMT5EncoderModel.from_pretrained(tmp_path / "text" / "text_encoder")
    results = json.loads((tmp_path / "text" / "results.json").read_text())
    assert results["loss_held_out"] < 0.7 * results["loss_held_out_untrained"]
    tokens = T5Tokenizer.from_pretrained(tmp_path / "text" / "tokenizer")
    features = UMT5Text(tokens, encoder.eval()).encode(["a room with a zebra", "a bed"], 12)
    assert features.shape == (2, 12, 32) and features[1, -1].abs().max() == 0  # zeroed padding

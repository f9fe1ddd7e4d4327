"""Things that move, by words: the real classes with tiny random weights, and their use."""

from dataclasses import replace

import pytest
import torch
from transformers import (
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Sam2VideoConfig,
    Sam2VideoModel,
    SwinConfig,
)

from anchorweave.config import load_config
from anchorweave.perception import PerceptionConfig, WordsConfig, make_perception
from anchorweave.perception import sam2 as module
from anchorweave.run_config import RunConfig
from tests.alike import alike
from tests.rooms import walk

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "person", "ball"]
SIDE = 64


def detector():
    swin = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = {
        "model_type": "bert",
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 64,
    }
    config = GroundingDinoConfig(
        backbone_config=swin.to_dict(),
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=5,
        max_text_len=32,
    )
    return GroundingDinoForObjectDetection(config)


def segmenter():
    # Memory is 64 channels wide in the code itself, and narrower than all else.
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "global_attention_blocks": [3],
        "image_size": [SIDE, SIDE],
        "window_size_per_stage": [4, 4, 4, 4],
    }
    config = Sam2VideoConfig(
        vision_config={
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 128,
        },
        prompt_encoder_config={
            "hidden_size": 128,
            "image_size": SIDE,
            "patch_size": 16,
            "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": 128,
            "mlp_dim": 16,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
        image_size=SIDE,
        memory_attention_hidden_size=128,
        memory_attention_feed_forward_hidden_size=16,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_attention_num_layers=1,
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=16,
        num_maskmem=3,
    )
    return Sam2VideoModel(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector().save_pretrained(path / "detector")
        segmenter().save_pretrained(path / "segmenter")
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)})
    tokenizer.save_pretrained(path / "detector")
    return path


@pytest.fixture(autouse=True)
def small_inputs(monkeypatch):
    monkeypatch.setattr(module, "SHORTER_SIDE", 72)
    monkeypatch.setattr(module, "LONGER_SIDE", 96)


def configured(folder, *words):
    return load_config(
        RunConfig,
        [
            "perception.moving=sam2",
            "perception.sam2.words=[person,ball]",
            f"perception.sam2.detector={folder / 'detector'}",
            f"perception.sam2.segmenter={folder / 'segmenter'}",
            *words,
        ],
    ).perception


def test_weights_of_folders_become_masks(folder):
    """From YAML words to masks by the real classes, the same each time; what they are is chance."""
    clip = walk(3)
    perceive = make_perception("recorded", configured(folder, "perception.sam2.threshold=0.01"))
    boxes = perceive._detector(clip.frames[0])
    assert boxes.shape[1] == 4 and len(boxes) > 0
    assert (boxes >= 0).all() and (boxes <= torch.tensor([32, 24, 32, 24])).all()
    masks = perceive._segmenter(clip.frames, 1, boxes)
    assert masks.shape == (3, 24, 32) and torch.equal(
        masks, perceive._segmenter(clip.frames, 1, boxes)
    )
    seen = perceive(clip)
    assert seen.static.shape == (3, 24, 32) and alike(seen.depth, clip.depth)


class Boxes:
    """In the place of the networks: the box of what is white, and the box itself as its mask."""

    def __init__(self, config):
        self.searched = []

    def __call__(self, frames, at=None, boxes=None):
        if boxes is None:
            white = (frames.amin(dim=0) > 0.99).nonzero()
            self.searched.append(len(white))
            if not len(white):
                return torch.zeros(0, 4)
            (top, left), (bottom, right) = white.amin(0).tolist(), white.amax(0).tolist()
            return torch.tensor([[left, top, right + 1, bottom + 1]]).float()
        return frames.amin(dim=1) > 0.99


def test_without_a_find_all_is_still_and_masks_stay(monkeypatch):
    monkeypatch.setattr(module, "Detector", Boxes)
    monkeypatch.setattr(module, "Segmenter", Boxes)
    clip = walk(2)
    clip.frames.clamp_(max=0.9)
    masked = torch.ones_like(clip.depth, dtype=torch.bool)
    masked[:, :4] = False
    perceive = make_perception("recorded", PerceptionConfig(moving="sam2"))
    assert torch.equal(perceive(replace(clip, static=masked)).static, masked)


def test_things_are_followed_from_each_search_both_ways(monkeypatch):
    monkeypatch.setattr(module, "Detector", Boxes)
    monkeypatch.setattr(module, "Segmenter", Boxes)
    clip = walk(9)
    clip.frames.clamp_(max=0.9)
    thing = torch.zeros(9, 24, 32, dtype=torch.bool)
    for i in range(2, 6):
        thing[i, 10:14, 3 * i : 3 * i + 4] = True
    frames = torch.where(thing[:, None], torch.ones(()), clip.frames)
    config = PerceptionConfig(moving="sam2", sam2=WordsConfig(every=4, grow=0))
    found = make_perception("recorded", config)(replace(clip, frames=frames))
    # Searched in frames 0, 4 and 8; it came after 0 and went before 8.
    assert torch.equal(found.static, ~thing)
    wider = replace(config, sam2=WordsConfig(every=4, grow=1))
    static = make_perception("recorded", wider)(replace(clip, frames=frames)).static
    assert not static[2, 9:15, 5:11].any() and static[2].sum() == 24 * 32 - 36


@pytest.mark.parametrize("part", ["detector", "segmenter"])
def test_without_weights_it_says_what_to_download(folder, part):
    config = configured(folder, f"perception.sam2.{part}=pretrained/none")
    with pytest.raises(FileNotFoundError, match=f"moving=sam2: no weights .*download .*{part}="):
        make_perception("recorded", config)


def test_words_that_cannot_be(folder):
    for words in ((), ("a. b",), (" ",)):
        with pytest.raises(ValueError, match="name objects that may move"):
            WordsConfig(words=words)
    with pytest.raises(ValueError, match="every be at least 1"):
        WordsConfig(every=0)
    config = configured(folder, "perception.sam2.words=[dragon]")
    with pytest.raises(ValueError, match="not all of these are in the vocabulary"):
        make_perception("recorded", config)
    assert WordsConfig(words=("Person", "red ball.")).prompt() == "person. red ball."

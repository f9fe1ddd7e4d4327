"""Trains a small T5 or UMT5 and its tokenizer on the captions of recordings.

    python -m training.train_text                                   # procedural rooms, on a CPU
    python -m training.train_text source=my_recordings output=outputs/my_text

For models smaller than the released ones, whose encoders need no training. The encoder is trained
to fill gaps in captions, mixed with typical prompt vocabulary for camera motion and rooms.

Writes `output` as a whole at the end: text_encoder/ and tokenizer/ (in transformers' layout),
results.json and config.yaml. Takes a few minutes; a second run finds it done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from anchorweave.command import Command
from anchorweave.config import load_config, save_config
from anchorweave.datasets.fingerprint import check_made, flat
from anchorweave.files import atomic_write
from anchorweave.locks import making
from anchorweave.models.quiet_loading import quiet_loading
from anchorweave.models.schedules import learning_rate_factor
from anchorweave.models.small.text import IGNORED, TextConfig, encoder_of, small_denoiser
from anchorweave.models.small.tiny import TEXT_TOKENS, WORDS, tiny_tokenizer
from anchorweave.progress import progress
from anchorweave.ranges import check_numbers, within
from anchorweave.recordings import open_recording
from anchorweave.recordings.base import CAPTION
from training.preparing.sources import find_recordings
from training.small_models.text_samples import END, batched, frequent_words, varied, with_gaps

DEFAULT = "configs/anchorweave_tiny/text.yaml"
CONFIG, RESULTS = "config.yaml", "results.json"
# Maximum gaps per text, and how many random versions of each held-out caption are evaluated.
GAPS, WAYS = 8, 8


@dataclass(frozen=True)
class TextTrainConfig:
    """Options of training a small text encoder.

    Args:
        source: recordings with captions to train on: a folder, "procedural:..." words, or a list.
        validation: recordings with captions to evaluate on, from other places.
        output: the output folder.
        seed: seed of the initial weights and all random choices.
        vocabulary: maximum number of whole words; all others are spelled out.
        steps: number of optimiser steps.
        batch: captions per step.
        learning_rate: peak learning rate of Adam; warmed up, then cosine decay.
        warmup: warm-up steps.
        gaps: fraction of a caption's tokens to be filled in.
        drop: fraction of its words dropped beforehand.
        prompts: fraction of texts with an added clause of camera motion or of another indoor
            prompt.
        text: the encoder's architecture.

    Raises:
        ValueError: no steps or captions, or fractions out of range.
    """

    source: Any = "procedural:seed=0..2,frames=1,size=64x96"
    validation: Any = "procedural:seed=900000,frames=1,size=64x96"
    output: str = "outputs/text"
    seed: int = within(0, at_least=0)
    vocabulary: int = 512
    steps: int = within(600, at_least=1)
    batch: int = within(64, at_least=1)
    learning_rate: float = within(5e-3, above=0, at_most=1)
    warmup: int = within(50, at_least=0)
    gaps: float = within(0.3, at_least=0.01, at_most=0.9)
    drop: float = within(0.1, at_least=0, at_most=0.5)
    prompts: float = within(0.4, at_least=0, at_most=1)
    text: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self):
        check_numbers(self)


def main(words: list[str]) -> None:
    """Trains, with `a.b=c` overrides."""
    config = load_config(TextTrainConfig, words, DEFAULT)
    with making(config.output):
        make(config, Path(config.output))


def make(config: TextTrainConfig, output: Path) -> None:
    """Trains into `output`, unless that already exists."""
    if output.exists():
        check_there(config, output)
        print(f"{output}: already exists, made with this config; remove it to train again")
        return
    captions, held_out = captions_of(config.source), captions_of(config.validation)
    with atomic_write(output) as aside:
        aside.mkdir()
        results = train_text(config, captions, held_out, aside)
        (aside / RESULTS).write_text(json.dumps(results, indent=1) + "\n")
        save_config(config, aside / CONFIG)
    print(f"{output}: " + ", ".join(f"{key} {value}" for key, value in results.items()))


def check_there(config: TextTrainConfig, output: Path) -> None:
    """Refuses an existing `output` made with another config.

    Raises:
        FingerprintError: it was made with other settings.
        ValueError: it is not such an output.
    """
    if not (output / CONFIG).is_file():
        raise ValueError(
            f"{output} exists and contains no {CONFIG}; remove it, or give another output="
        )
    stored = flat(load_config(TextTrainConfig, [f"config={output / CONFIG}"]))
    # The folder may have been moved, or be named by another path.
    current = flat(replace(config, output=stored["output"]))
    check_made(output, stored, current, "remove it, or give another output=")


def captions_of(source: str | Sequence[str]) -> list[str]:
    """The caption of every recording that `source` names.

    Raises:
        FileNotFoundError: a recording without one.
    """
    captions = []
    for path in progress(list(find_recordings(source).values()), "reading captions"):
        if (caption := open_recording(path).caption()) is None:
            raise FileNotFoundError(f"{path}: has no {CAPTION}; write one, or leave it out")
        captions.append(caption)
    return captions


def train_text(
    config: TextTrainConfig, captions: Sequence[str], held_out: Sequence[str], folder: Path
) -> dict[str, int | float]:
    """Trains on captions and writes text_encoder/ and tokenizer/ to `folder`.

    Returns:
        Metrics on the captions `held_out`, with the numbers of captions and steps.
    """
    words = frequent_words(captions, WORDS, config.vocabulary)
    tokenizer = tiny_tokenizer(words)
    model = small_denoiser(config.text, len(tokenizer), GAPS, config.seed)

    def sample(text: str, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        # The end token counts towards the length.
        most = {"truncation": True, "max_length": TEXT_TOKENS - 1}
        tokens = tokenizer(text, add_special_tokens=False, **most).input_ids
        return with_gaps(tokens, rng, config.gaps, len(tokenizer), GAPS)

    rng = np.random.default_rng([config.seed, 0])
    measured = batched([sample(text, rng) for text in held_out for _ in range(WAYS)], TEXT_TOKENS)
    before = _measure(model, *measured, len(tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.01)
    factor = learning_rate_factor("cosine", config.warmup, config.steps)
    # Dropout uses the global random state.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for step in range(1, config.steps + 1):
            rng = np.random.default_rng([config.seed, step])
            drawn = [captions[i] for i in rng.integers(len(captions), size=config.batch)]
            texts = [varied(text, rng, config.drop, config.prompts, words) for text in drawn]
            inputs, targets = batched([sample(text, rng) for text in texts], TEXT_TOKENS)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * factor(step - 1)
            loss = model(input_ids=inputs, labels=targets).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0 or step == config.steps:
                print(f"step {step}/{config.steps}: loss {loss.item():.3f}", flush=True)
    after = _measure(model, *measured, len(tokenizer))
    encoder = encoder_of(model, config.text, len(tokenizer))
    with quiet_loading():
        encoder.save_pretrained(folder / "text_encoder")
        tokenizer.save_pretrained(folder / "tokenizer")
    return {
        "steps": config.steps,
        "captions": len(captions),
        "captions_held_out": len(held_out),
        "vocabulary": len(tokenizer),
        "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        **{f"{key}_held_out": value for key, value in after.items()},
        **{f"{key}_held_out_untrained": value for key, value in before.items()},
    }


@torch.no_grad()
def _measure(
    model: torch.nn.Module, inputs: Tensor, targets: Tensor, vocabulary: int
) -> dict[str, float]:
    """Cross-entropy in nats per token, and the fraction of missing tokens predicted correctly."""
    model.eval()
    logits = model(input_ids=inputs, labels=targets).logits
    model.train()
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    # Excludes sentinel tokens and the end token, which are not in the caption.
    asked = (targets > END) & (targets < vocabulary)
    right = (logits.argmax(dim=-1) == targets)[asked].float().mean()
    return {"loss": round(loss.item(), 4), "accuracy": round(right.item(), 4)}


COMMAND = Command(main, TextTrainConfig, DEFAULT)

if __name__ == "__main__":
    COMMAND.run()

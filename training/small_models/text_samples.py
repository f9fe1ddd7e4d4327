"""Generates training samples for a small T5, texts with gaps, from captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from anchorweave.models.small.text import IGNORED

# Typical prompts about camera motion and rooms, for words that captions of recordings lack.
PROMPTS = (
    "the camera moves slowly forward through the room",
    "the camera moves backward away from the wall",
    "the camera turns left and then right",
    "the camera pans slowly from left to right",
    "the camera tilts up to the ceiling and down to the floor",
    "the camera rotates around the table in a full circle",
    "the camera orbits around the sofa and returns to its start",
    "a smooth dolly shot along the corridor",
    "a slow pan across a bright living room",
    "a handheld video of a walk through a house",
    "a walk through a quiet apartment with wooden floors",
    "a first person view of a small office with a desk, a chair and a computer screen",
    "a wide shot of a large kitchen with white cabinets and a stove",
    "a close view of a bookshelf with many colorful books",
    "a static shot of a dining room with a round table and six chairs",
    "a bedroom with a double bed, pillows and a blue blanket",
    "a bathroom with a mirror, a sink, a shower and a bathtub",
    "a hallway with an open door and pictures on the walls",
    "a cozy room with warm light, orange curtains and a pink carpet",
    "a modern interior with grey walls, a glass table and green plants",
    "an empty room with beige walls and a dark wooden floor",
    "an old room with striped wallpaper, a fireplace and a piano",
    "a sunny room with large windows, white curtains and purple chairs",
    "indoor scene, high quality, realistic, detailed, steady camera",
    "a realistic video of a furnished room, no people, consistent objects",
    "the view zooms in on a painting near the door",
    "the view spirals up over a city street at night",
    "a drone flies over a garden with trees, grass and flowers in the morning",
    "a red brick building beside a road with cars under a clear sky",
    "a classroom with a blackboard, small desks and a clock behind the door",
)
END, PAD = 1, 0
LETTERS = r"[^\W\d_]+"


def frequent_words(texts: Sequence[str], base: Sequence[str], most: int) -> list[str]:
    """Words that become single tokens: `base`, those of PROMPTS, then the most frequent of `texts`.

    Args:
        texts: captions.
        base: words that are always included.
        most: maximum total number.

    Raises:
        ValueError: fewer than the words that are always included.
    """
    always = dict.fromkeys([*base, *re.findall(LETTERS, " ".join(PROMPTS))])
    if most < len(always):
        raise ValueError(f"vocabulary={most} is below the {len(always)} words that it starts from")
    # Ties are broken alphabetically.
    counted = sorted(Counter(re.findall(LETTERS, " ".join(texts))).items(), key=_commonest)
    return list(dict.fromkeys([*always, *(word for word, _ in counted)]))[:most]


def varied(text: str, rng: Generator, drop: float, prompts: float, words: Sequence[str]) -> str:
    """A text with its clauses shuffled and some words dropped or replaced.

    Args:
        text: clauses between commas.
        rng: random generator.
        drop: fraction of words dropped; half as many are replaced by any of `words`.
        prompts: probability that one of PROMPTS is added as a clause.
        words: replacement words.
    """
    clauses = [text, PROMPTS[rng.integers(len(PROMPTS))]] if rng.random() < prompts else [text]
    clauses = [part.strip() for clause in clauses for part in clause.split(",")]
    clauses_kept = []
    for i in rng.permutation(len(clauses)):
        chances = rng.random(len(clauses[i].split()))
        changed = [
            str(rng.choice(words)) if chance < 1.5 * drop else word
            for word, chance in zip(clauses[i].split(), chances, strict=True)
            if chance >= drop
        ]
        clauses_kept += [" ".join(changed)] if changed else []
    return ", ".join(clauses_kept) or text


def with_gaps(
    tokens: Sequence[int], rng: Generator, share: float, first_mark: int, marks: int
) -> tuple[list[int], list[int]]:
    """A text with gaps, and their contents, each after its sentinel (T5 span corruption).

    Args:
        tokens: at least one, without the end token.
        rng: random generator.
        share: fraction of tokens removed, in gaps of one to three, at least one token.
        first_mark: id of the first sentinel; the others follow.
        marks: maximum number of gaps.
    """
    gone = np.zeros(len(tokens), dtype=bool)
    while gone.sum() < share * len(tokens):
        start = rng.integers(len(tokens))
        longer = gone.copy()
        longer[start : start + rng.integers(1, 4)] = True
        if np.count_nonzero(np.diff(longer.astype(int), prepend=0) == 1) > marks:
            break
        gone = longer
    left, missing, mark = [], [], first_mark - 1
    for i, token in enumerate(tokens):
        if not gone[i]:
            left.append(token)
            continue
        if i == 0 or not gone[i - 1]:
            mark += 1
            left.append(mark)
            missing.append(mark)
        missing.append(token)
    return [*left, END], [*missing, END]


def batched(samples: Sequence[tuple[list[int], list[int]]], length: int) -> tuple[Tensor, Tensor]:
    """Texts [B, length], padded like prompts, and targets [B, L], IGNORED after their end."""
    longest = max(len(target) for _, target in samples)
    texts = [text + [PAD] * (length - len(text)) for text, _ in samples]
    targets = [target + [IGNORED] * (longest - len(target)) for _, target in samples]
    return torch.tensor(texts), torch.tensor(targets)


def _commonest(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]

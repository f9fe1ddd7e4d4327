import numpy as np
import torch

from anchorweave.retrieval import coverage
from anchorweave.retrieval.coverage import lazy_greedy

PIXELS = 150  # not a multiple of 64


def packed(masks):
    """Bool [C, n] as rows of 64-bit words."""
    masks = np.asarray(masks, dtype=bool)
    words = -(-masks.shape[1] // 64)
    padded = np.zeros((len(masks), 64 * words), bool)
    padded[:, : masks.shape[1]] = masks
    bits = np.packbits(padded, axis=1, bitorder="little").view(np.int64)
    return torch.from_numpy(bits.reshape(len(masks), words))


def exhaustive(masks, covered, budget, min_gain):
    """Algorithm 1 as it is written: every candidate is measured in every step."""
    covered, picks, left = covered.copy(), [], list(range(len(masks)))
    while True:
        if covered.all():
            return picks, "full coverage"
        if len(picks) == budget:
            return picks, "K reached"
        if not left:
            return picks, "pool empty"
        gains = {row: int((masks[row] & ~covered).sum()) for row in left}
        best = max(left, key=lambda row: (gains[row], row))
        if gains[best] <= min_gain * covered.size:
            return picks, "no gain above 0.1%"
        picks.append(best)
        left.remove(best)
        covered |= masks[best]


def greedy(masks, covered=None, budget=4, min_gain=0.001):
    masks = np.asarray(masks, dtype=bool)
    covered = np.zeros(masks.shape[1], bool) if covered is None else covered
    got = lazy_greedy(packed(masks), packed(covered[None])[0], masks.shape[1], budget, min_gain)
    assert got == exhaustive(masks, covered, budget, min_gain)
    return got


def test_same_picks_as_exhaustive_search():
    rng = np.random.default_rng(0)
    stops = set()
    for case in range(300):
        count, budget = rng.integers(0, 9), int(rng.integers(0, 5))
        # Few distinct blocks, so that ties, full coverage and useless candidates happen often.
        blocks = rng.random((count, 6)) < rng.choice([0.2, 0.5, 0.8])
        masks = np.repeat(blocks, PIXELS // 6, axis=1).reshape(count, PIXELS)
        if case % 2:
            masks &= rng.random(masks.shape) < 0.9
        covered = rng.random(PIXELS) < rng.choice([0.0, 0.5])
        stops.add(greedy(masks, covered, budget)[1])
    assert stops == {"full coverage", "K reached", "pool empty", "no gain above 0.1%"}


def blocks(*rows):
    """Each row is a string of blocks of 10 pixels: x is covered."""
    return np.repeat([[c == "x" for c in row] for row in rows], 10, axis=1)


def test_it_takes_what_is_new_not_what_is_large():
    masks = blocks("xxxx..", "xxx...", "....xx")
    assert greedy(masks) == ([0, 2], "full coverage")


def test_of_equal_gains_the_newer_one():
    assert greedy(blocks("xx..", "xx..", "..xx", "..xx"))[0] == [3, 1]


def test_each_reason_to_stop():
    assert greedy(blocks("x...", ".x..", "..x."), budget=2)[1] == "K reached"
    assert greedy(blocks("x...", ".x.."))[1] == "pool empty"
    assert greedy(blocks("x...", "x..."))[1] == "no gain above 0.1%"
    assert greedy(blocks("xx", ".."))[1] == "full coverage"
    assert greedy(blocks("x."), covered=np.ones(20, bool)) == ([], "full coverage")
    assert greedy(np.zeros((0, 10), bool)) == ([], "pool empty")


def test_a_gain_must_be_above_the_limit():
    masks = np.zeros((1, 1000), bool)
    masks[0, 7] = True  # 0.1 % exactly
    assert greedy(masks) == ([], "no gain above 0.1%")
    masks[0, 8] = True
    assert greedy(masks) == ([0], "pool empty")


def test_lazy_means_that_few_are_measured_again(monkeypatch):
    count, measured = 200, []
    counter = coverage.newly_covered
    monkeypatch.setattr(
        coverage,
        "newly_covered",
        lambda sets, covered: (measured.append(len(sets)), counter(sets, covered))[1],
    )
    rng = np.random.default_rng(1)
    masks = rng.random((count, PIXELS)) < rng.random((count, 1))
    lazy_greedy(packed(masks), packed(np.zeros((1, PIXELS)))[0], PIXELS, 4, 0.0)
    assert sum(measured) < 2 * count

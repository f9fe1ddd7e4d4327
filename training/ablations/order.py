"""Compares our order of rows with the paper's, with confidence intervals.

Absolute numbers of another model on other data are not comparable, but the order of two rows is.
Ours are compared clip by clip with a 95 % bootstrap interval of the difference; papers print no
intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from anchorweave.evaluation.bootstrap import Interval, bootstrap_interval, paired_difference


@dataclass(frozen=True)
class Pair:
    """Two rows, of which the paper reports that `better` is better.

    Args:
        better: the better row according to the paper.
        worse: the other one.
        paper: the paper's difference; None if it gives no numbers.
        ours: better minus worse, over the clips that both have.
    """

    better: str
    worse: str
    paper: float | None
    ours: Interval

    @property
    def verdict(self) -> str:
        """`same`, `swapped`, or `equal` if ours do not differ at all."""
        if self.ours.mean == 0:
            return "equal"
        return "same" if self.ours.mean > 0 else "swapped"

    @property
    def apart(self) -> bool:
        """Whether the interval of our difference excludes zero."""
        return self.ours.low > 0 or self.ours.high < 0


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: its name in the paper.
        metric: our metric.
        ours: row -> mean with interval; rows without this metric are omitted.
        paper: row -> the paper's number, if there is one.
        pairs: all pairs that the paper orders.
    """

    name: str
    metric: str
    ours: dict[str, Interval]
    paper: dict[str, float]
    pairs: tuple[Pair, ...]

    @property
    def tau(self) -> float | None:
        """Kendall's tau: pairs in the paper's order minus swapped, as a fraction; None if none."""
        verdicts = [pair.verdict for pair in self.pairs]
        if not verdicts:
            return None
        return (verdicts.count("same") - verdicts.count("swapped")) / len(verdicts)

    def statement(self) -> str:
        """Whether the order matches the paper's, as text."""
        if len(self.ours) < 2:
            return f"{self.name}: fewer than two of these rows have {self.metric}."
        if not self.pairs:
            return f"{self.name}: no two of these rows are put in an order by the paper."
        same = [pair for pair in self.pairs if pair.verdict == "same"]
        sure = sum(pair.apart for pair in same)
        count = len(self.pairs)
        if len(same) == count:
            pairs = "the one pair" if count == 1 else f"all {count} pairs"
            return (
                f"{self.name}: same order as the paper, in {pairs} of rows; in {sure} of them the "
                "interval of our difference is apart from zero."
            )
        said = [
            f"{self.name}: {len(same)} of {count} pairs of rows are in the paper's order, {sure} "
            "of them with an interval apart from zero."
        ]
        said += [_other(pair) for pair in self.pairs if pair.verdict != "same"]
        return " ".join(said)


def compare_column(
    name: str,
    metric: str,
    ours: Mapping[str, Mapping[str, float]],
    paper: Mapping[str, float],
    claims: Sequence[Sequence[str]],
    resamples: int = 2000,
) -> Column:
    """Compares one column with the paper's; higher is better.

    Args:
        name: its name in the paper.
        metric: our metric.
        ours: row -> clip -> value.
        paper: row -> number. Rows with equal numbers are not ordered.
        claims: pairs (better, worse) that the paper states without numbers.
        resamples: number of bootstrap resamples.
    """
    ordered = [
        (*sorted(pair, key=paper.__getitem__, reverse=True), abs(paper[pair[0]] - paper[pair[1]]))
        for pair in combinations(paper, 2)
        if paper[pair[0]] != paper[pair[1]]
    ]
    ordered += [(better, worse, None) for better, worse in claims]
    pairs = tuple(
        Pair(better, worse, apart, paired_difference(ours[better], ours[worse], resamples))
        for better, worse, apart in ordered
        if ours.get(better, {}).keys() & ours.get(worse, {}).keys()
    )
    intervals = {
        row: bootstrap_interval(list(values.values()), resamples)
        for row, values in ours.items()
        if values
    }
    return Column(name, metric, intervals, dict(paper), pairs)


def _other(pair: Pair) -> str:
    ours = f"{pair.ours.mean:+.3f} [{pair.ours.low:+.3f}, {pair.ours.high:+.3f}]"
    paper = "without numbers" if pair.paper is None else f"{pair.paper:+.4g}"
    if pair.verdict == "equal":
        return f"{pair.better} and {pair.worse} are equal here (paper: {paper})."
    sure = "apart from zero" if pair.apart else "not apart from zero"
    return f"Swapped: {pair.better} minus {pair.worse} is {ours} here, {sure} (paper: {paper})."

"""Checks every clip of a data set, and lists those that training should exclude.

    python -m training.doctor outputs/prepared
    python -m training.doctor data/released min_coverage=0.1
    python -m training.doctor outputs/rollout/memory

Writes quarantine.json to the data set (an empty list if all is well), which training honours
and prints. Fails only if no clip is left. For a memory bank, every image is read and compared with
its checksum; nothing is written, and any bad image is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.datasets.doctor import Verdict, empty_prompt_problem, examine
from anchorweave.datasets.layout import write_quarantine
from anchorweave.locks import in_use
from anchorweave.memory import Bank
from anchorweave.ranges import within
from anchorweave.recordings.nerfstudio import TRANSFORMS


@dataclass(frozen=True)
class DoctorConfig:
    """What the doctor checks.

    Args:
        data: a data set, prepared or in the authors' released layout; or a memory bank.
        min_coverage: clips whose anchors cover less than this fraction of the target are
            quarantined (not given in the paper).
    """

    data: str = "outputs/prepared"
    min_coverage: float = within(0.01, at_least=0, at_most=1)


def main(words: Sequence[str]) -> None:
    """Checks a data set or a memory bank, with `a.b=c` overrides.

    Raises:
        SystemExit: no clip can be used for training, or an image of a bank is corrupt.
    """
    config = load_config(DoctorConfig, words)
    console = Console()
    if (Path(config.data) / TRANSFORMS).exists():
        return examine_bank(Bank(config.data), console)
    with in_use(config.data):
        examine_data(config, console)


def examine_data(config: DoctorConfig, console: Console) -> None:
    """Reports problems of the clips of a data set, and which ones training excludes from now on.

    Raises:
        SystemExit: no clip can be used for training.
    """
    verdicts = examine(
        config.data,
        config.min_coverage,
        lambda clips: track(clips, "examining", console=console, transient=True),
    )
    bad = {verdict.name: "; ".join(verdict.problems) for verdict in verdicts if verdict.problems}
    path = write_quarantine(config.data, bad)
    for line in report(verdicts, empty_prompt_problem(config.data)):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"quarantine: {len(bad)} clip(s), listed in {path}", soft_wrap=True)
    if len(bad) == len(verdicts):
        raise SystemExit(f"{config.data}: 0 of {len(verdicts)} clips can be used for training")


def examine_bank(bank: Bank, console: Console) -> None:
    """Reports problems of a memory bank, one line per image.

    Raises:
        SystemExit: there are any.
    """
    problems = bank.problems()
    for problem in problems:
        console.print(f"bad: {problem}", markup=False, soft_wrap=True)
    console.print(
        f"{bank.path}: {len(bank)} frames, {len(problems)} bad image(s)",
        markup=False,
        soft_wrap=True,
    )
    if bank.unsummed:
        console.print(
            f"  {bank.unsummed} of them have no checksums (made by an earlier version): corruption "
            "of these cannot be detected"
        )
    if problems:
        raise SystemExit(f"{bank.path}: {len(problems)} corrupt image(s)")


def report(verdicts: Sequence[Verdict], empty_prompt: str | None) -> list[str]:
    """The findings as text: every clip with a problem, then counts.

    Args:
        verdicts: one per clip.
        empty_prompt: what is wrong with the features of the empty prompt; None = nothing.
    """
    lines = [
        f"bad: {verdict.name}: {problem}" for verdict in verdicts for problem in verdict.problems
    ]
    good = [verdict for verdict in verdicts if not verdict.problems]
    lines.append(f"{len(good)} of {len(verdicts)} clips are good")
    shapes = Counter(verdict.shape for verdict in good)
    for shape, count in shapes.items():
        what = (
            "no latents yet: run scripts/precompute.sh"
            if shape is None
            else "latents (t, C, h, w) "
        )
        lines.append(f"  {count} with {what}{shape or ''}")
    for memory in sorted({name for verdict in good for name in verdict.coverage}):
        shares = [verdict.coverage[memory] for verdict in good if memory in verdict.coverage]
        mean = sum(shares) / len(shares)
        lines.append(
            f"  anchors of {memory} cover {min(shares):.1%} to {max(shares):.1%} of the "
            f"target, {mean:.1%} on average"
        )
    if unsummed := sum(not verdict.summed for verdict in good):
        lines.append(
            f"  {unsummed} of them have no checksums (made by an earlier version): corruption of "
            "these cannot be detected"
        )
    if empty_prompt and any(shapes):
        lines.append(f"  the empty prompt, for caption dropout: {empty_prompt}")
    return lines


COMMAND = Command(main, DoctorConfig, first="data")

if __name__ == "__main__":
    COMMAND.run()

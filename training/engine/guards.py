"""Skips steps whose gradients are not finite, or far larger than usual."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

from anchorweave.errors import EndedError
from training.options.training import GuardConfig

# Decay of the running mean of gradient norms per step. It is used only after as many steps as it
# averages over: the first norms of a new controller are not representative.
MEMORY, SETTLED = 0.98, 50


@dataclass
class GradientGuard:
    """Decides for each step, from numbers that all ranks share, so that all decide alike.

    Args:
        config: the limits.
        mean: running mean of the norms of the steps taken.
        taken: how many there were.
        skipped: numbers of the skipped steps within the window.
        skipped_ever: number of skipped steps in the whole run.
    """

    config: GuardConfig
    mean: float = 0.0
    taken: int = 0
    skipped: list[int] = field(default_factory=list)
    skipped_ever: int = 0

    def allows(self, step: int, norm: float, losses_finite: bool) -> bool:
        """Whether to take this step; counts it otherwise.

        Raises:
            RuntimeError: more steps were skipped within the window than the limit.
        """
        reason = self._objection(norm, losses_finite)
        if reason is None:
            share = min(MEMORY, self.taken / (self.taken + 1))
            self.mean = share * self.mean + (1 - share) * norm
            self.taken += 1
            return True
        self.skipped = [s for s in self.skipped if s > step - self.config.window] + [step]
        self.skipped_ever += 1
        if len(self.skipped) > self.config.limit:
            raise EndedError(
                f"step {step}: {reason}; {len(self.skipped)} of the last {self.config.window} "
                f"steps were skipped, more than guard.limit={self.config.limit}. Look at log.jsonl "
                "for the clips and timesteps of those steps; lower the learning rate, or resume "
                "from an earlier checkpoint (resume=PATH) with another seed"
            )
        return False

    def state(self) -> dict:
        """The state needed to resume."""
        return {name: value for name, value in asdict(self).items() if name != "config"}

    def restore(self, state: dict) -> None:
        """The inverse of `state`."""
        for name, value in state.items():
            setattr(self, name, value)

    def _objection(self, norm: float, losses_finite: bool) -> str | None:
        if not losses_finite:
            return "a loss is not finite"
        if not math.isfinite(norm):
            return f"the gradient's norm is {norm}"
        factor = self.config.abnormal
        if factor is not None and self.taken >= SETTLED and norm > factor * self.mean:
            return (
                f"the gradient's norm {norm:.3g} is over {factor:g} times its mean {self.mean:.3g}"
            )
        return None

"""EvaluationConfig: which row of a table is generated, on which clips, and by what."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from anchorweave.datasets.fingerprint import flat
from anchorweave.memory import config as memory
from anchorweave.perception import PerceptionConfig
from anchorweave.pipelines import WeavingMixin
from anchorweave.run_config import RunConfig
from inference.evaluation.protocols import Protocol, check_protocol, rolls_out
from inference.runs.made import NETWORKS, VERSION, networks_made, without_unused

# What changes neither a video nor what it is measured by.
NOT_MADE_WITH = (
    *("source", "missing", "check", "output", "seed", "fps"),
    *("model", "row", "samples", "batch"),
)
# Options that came when rows were there already, at the value that does what they did.
ADDED_LATER = memory.ADDED_LATER | {
    "holes": "black",
    "controller_holes": "black",
    "sampling.start": "noise",
    "sampling.start_share": 0.3,
    "rollout.unit": "scene",
    "rollout.prompts": None,
}
ADDED_LATER |= {
    key: value
    for key, value in flat({"perception": PerceptionConfig()}).items()
    if key.split(".")[1] in ("moving", "geometry", "sam2", "depth_anything", "depth_pro", "zoe")
}
LATER = list(ADDED_LATER.items())


@dataclass(frozen=True)
class EvaluationConfig(RunConfig):
    """One row: a way to generate, on a fixed list of held-out clips.

    `source` may stand for many recordings here ("procedural:seed=910000..910099,..."). The noise of
    a video depends on its seed and its clip alone, so that rows can be compared clip by clip.

    Args:
        row: what the row is called.
        method: `generate` with the networks; or without them: `copy_anchors`, the composite of the
            anchors; `first_frame`, repeated; `vae`, the true frames through the autoencoder and
            back, which is as good as any generated frame can be.
        holes: what `copy_anchors` shows where no anchor sees: `black`, or the nearest seen pixel of
            the frame in `cracks` or everywhere (`filled`). A controller brings its own along.
        protocol: what is asked, see `inference/evaluation/protocols.py`. partial_revisit and
            long_gap hold back frames as `split` says. The others generate `rollout.segments`
            segments from the start of the recording, along `rollout.trajectory`:
            there_and_back(recorded) takes the recording's own cameras, so that the truth is known
            all the way; along any other path it is known in rooms that can be filmed anew
            ("procedural:...").
        samples: videos per clip, sampled with `seed`, `seed` + 1, ...
        batch: clips that are generated at once (where clips are held back).
        slots: anchors are filled up with black ones to this many, which is what a controller that
            was trained with so many slots knows fewer anchors by; null = as many as retrieved.

    Raises:
        ValueError: a row without a name, or options that do not go together.
    """

    row: str = "row"
    method: Literal["generate", "copy_anchors", "first_frame", "vae"] = "generate"
    holes: Literal["black", "cracks", "filled"] = "black"
    protocol: Protocol = "partial_revisit"
    samples: int = 1
    batch: int = 1
    slots: int | None = None

    def __post_init__(self):
        super().__post_init__()
        plain = self.row.isprintable() and "/" not in self.row and not self.row.startswith(".")
        if not self.row or not plain:
            raise ValueError(
                f"row={self.row!r} becomes a folder and stands in tables; name it in printable "
                "characters without slashes"
            )
        for name in ("samples", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")
        check_protocol(self.protocol, self.split.kind, self.rollout.trajectory)
        if self.slots is not None and self.rolls_out:
            raise ValueError(
                f"slots={self.slots}: protocol={self.protocol} shows what is retrieved as it is"
            )
        if self.slots is not None and self.slots < self.retrieval.anchors:
            raise ValueError(
                f"slots={self.slots} do not hold retrieval.anchors={self.retrieval.anchors}"
            )
        if self.memory.path is not None:
            raise ValueError(
                f"memory.path={self.memory.path}: every clip is evaluated with a memory of its "
                "own; leave memory.path out"
            )
        if self.method != "generate" and self.rolls_out:
            raise ValueError(
                f"method={self.method} goes no path of protocol={self.protocol}; only generate does"
            )
        if self.method != "copy_anchors" and self.holes != "black":
            raise ValueError(
                f"holes={self.holes} is for method=copy_anchors; a controller's own "
                "config says what it is for"
            )
        if self.method != "generate" and self.samples != 1:
            raise ValueError(f"method={self.method} draws no noise; set samples=1")

    @property
    def needs_networks(self) -> bool:
        """Whether the row runs any network."""
        return self.method in ("generate", "vae")

    @property
    def rolls_out(self) -> bool:
        """Whether a path is rolled out in segments; else a clip of the recording is held back."""
        return rolls_out(self.protocol)

    @property
    def folder(self) -> Path:
        """The row's: `output`/`protocol`/`row`; horizons of different lengths lie apart."""
        length = f"_{self.rollout.segments}" if self.protocol == "long_horizon" else ""
        return Path(self.output) / f"{self.protocol}{length}" / self.row

    def seeds(self) -> tuple[int, ...]:
        """Of the videos of each clip."""
        return tuple(range(self.seed, self.seed + self.samples))

    def made_with(self, pipe: WeavingMixin | None) -> dict[str, Any]:
        """What decides the row's videos, as dotted keys; `pipe` where networks take part."""
        values = {k: v for k, v in asdict(self).items() if k not in NOT_MADE_WITH}
        values |= {"dtype": self.model.dtype, "version": VERSION}
        values.pop("split" if self.rolls_out else "rollout")
        if self.method != "generate":
            values.pop("sampling")
        if pipe is not None:
            used = ("vae",) if self.method == "vae" else NETWORKS
            values |= networks_made(pipe, used)
            if "controller" in used:
                values["controller_holes"] = pipe.controller.config.holes
        made = without_unused(flat(values))
        return {key: value for key, value in made.items() if (key, value) not in LATER}


def noise_seed(seed: int, clip: str) -> int:
    """A seed of its own for every clip and sampling seed, the same in every row."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{clip}".encode()).digest()[:4], "big")

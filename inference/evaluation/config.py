"""EvaluationConfig: which row of a table is generated, on which clips, and how."""

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

# Options that affect neither a video nor its evaluation target.
NOT_MADE_WITH = (
    *("source", "missing", "check", "output", "seed", "fps"),
    *("model", "row", "samples", "batch"),
)
# Options added after rows had been made, with values equivalent to the old behaviour.
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

    `source` may stand for many recordings here ("procedural:seed=910000..910099,..."). A video's
    noise depends only on its seed and its clip, so that rows are comparable clip by clip.

    Args:
        row: name of the row.
        method: `generate` with the networks; or without them: `copy_anchors`, the composite of the
            anchors; `first_frame`, repeated; `vae`, the true frames encoded and decoded by the
            autoencoder, an upper bound for generated frames.
        holes: how `copy_anchors` fills holes: `black`, or the nearest seen pixel of the frame in
            `cracks` or everywhere (`filled`). A controller has its own setting.
        protocol: the task, see `inference/evaluation/protocols.py`. partial_revisit and long_gap
            hold back frames as set by `split`. The others generate `rollout.segments` segments from
            the start of the recording, along `rollout.trajectory`: there_and_back(recorded) uses
            the recording's own cameras, so that the truth is known throughout; along any other path
            it is known for scenes that can be re-rendered ("procedural:...").
        samples: videos per clip, sampled with `seed`, `seed` + 1, ...
        batch: number of clips generated at once (if clips are held back).
        slots: pads the anchors with black ones to this number, as a controller trained with that
            many slots expects; null = as many as retrieved.

    Raises:
        ValueError: a row without a name, or options that exclude each other.
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
                f"row={self.row!r} is used as a folder and in tables; use printable "
                "characters without slashes"
            )
        for name in ("samples", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")
        check_protocol(self.protocol, self.split.kind, self.rollout.trajectory)
        if self.slots is not None and self.rolls_out:
            raise ValueError(f"slots={self.slots}: protocol={self.protocol} does not pad anchors")
        if self.slots is not None and self.slots < self.retrieval.anchors:
            raise ValueError(
                f"slots={self.slots} are fewer than retrieval.anchors={self.retrieval.anchors}"
            )
        if self.memory.path is not None:
            raise ValueError(
                f"memory.path={self.memory.path}: every clip is evaluated with its own memory; "
                "remove memory.path"
            )
        if self.method != "generate" and self.rolls_out:
            raise ValueError(
                f"method={self.method} cannot follow the path of protocol={self.protocol}; "
                "only generate can"
            )
        if self.method != "copy_anchors" and self.holes != "black":
            raise ValueError(
                f"holes={self.holes} is for method=copy_anchors; a controller has its own "
                "setting in its config"
            )
        if self.method != "generate" and self.samples != 1:
            raise ValueError(f"method={self.method} uses no noise; set samples=1")

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
        """The row's folder: `output`/`protocol`/`row`; horizons of different lengths separately."""
        length = f"_{self.rollout.segments}" if self.protocol == "long_horizon" else ""
        return Path(self.output) / f"{self.protocol}{length}" / self.row

    def seeds(self) -> tuple[int, ...]:
        """Seeds of the videos of each clip."""
        return tuple(range(self.seed, self.seed + self.samples))

    def made_with(self, pipe: WeavingMixin | None) -> dict[str, Any]:
        """Everything the row's videos depend on, as dotted keys; `pipe` if networks are used."""
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
    """A separate noise seed for every clip and sampling seed, the same in every row."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{clip}".encode()).digest()[:4], "big")

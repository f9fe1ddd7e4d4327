"""PrepareConfig: everything that preparing needs, and what of it a clip depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from anchorweave.datasets.clip_videos import Storage
from anchorweave.datasets.fingerprint import flat
from anchorweave.datasets.splits import SplitConfig
from anchorweave.evaluation.contradiction import Check
from anchorweave.memory import MEMORIES, MemoryConfig
from anchorweave.memory.config import ADDED_LATER
from anchorweave.models.families import FAMILIES
from anchorweave.perception import PerceptionConfig
from anchorweave.recordings.config import RecordingConfig
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig
from training.preparing.captions import CaptionConfig

# Counted up whenever the same recording and config give other clips than before.
CODE_VERSION = 2
# Each stretch has its own start and each clip its own bank; both renderers show the same pixels.
NO_MATTER = ("split.start", "memory.kind", "memory.path", "rendering.renderer")


@dataclass(frozen=True)
class PrepareConfig:
    """Everything that preparing needs.

    Args:
        source: a recording, a folder with recordings at any depth, "procedural:..." words, or a
            list of these.
        missing: what to do with frames that a recording lists but does not hold.
        recording: what is to be taken otherwise than all the recordings say it.
        check: what to do with memories that contradict each other: `warn`, `error` (the clip
            counts as failed) or `off`, see `evaluation/contradiction.py`.
        output: the data set's folder.
        family: of the backbone that the clips are for, which decides what lengths and sizes fit.
        size: (height, width) that frames are cropped and resized to; multiples of 16 (cogvideox)
            or 32 (wan). Paper section 4.1: 480x720.
        frames: length T of a clip; 4k + 1 (paper section 4.1: 49).
        fps: frames per second of the videos that are written (released script: 8).
        pixels: `video` writes H.264 files, `raw` exact bytes, see `datasets/clip_videos.py`.
        clips_per_recording: at most so many stretches of each recording; null = all that fit.
        stride: frames from one stretch's start to the next; null = they do not overlap.
        memories: which memory systems' anchors to prepare.
        split: target and history of a stretch (paper section 4.1: 49 + 21 interleaved).
        perception: where depth comes from.
        memory: options of the memory systems (its `kind` and `path` are set for each of them).
        retrieval: how memories are chosen. In training at random from the pool (paper section
            4.1); what is drawn depends on `retrieval.seed` and the clip's name.
        rendering: how points become pixels.
        caption: where captions come from.

    Raises:
        ValueError: a family, length, size or memory system that is none.
    """

    source: Any = "data/example_dataset"
    missing: Literal["error", "skip"] = "error"
    check: Check = "warn"
    output: str = "outputs/prepared"
    family: str = "cogvideox"
    size: tuple[int, int] = (480, 720)
    frames: int = 49
    fps: int = 8
    pixels: Storage = "video"
    clips_per_recording: int | None = 1
    stride: int | None = None
    memories: tuple[str, ...] = ("local_clouds",)
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    perception: PerceptionConfig = field(default_factory=PerceptionConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    retrieval: RetrievalConfig = field(
        default_factory=lambda: RetrievalConfig(choose="random_in_view")
    )
    rendering: RenderConfig = field(default_factory=RenderConfig)
    caption: CaptionConfig = field(default_factory=CaptionConfig)

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise ValueError(f"family={self.family}; known: {', '.join(FAMILIES)}")
        FAMILIES[self.family].form.check(self.frames, self.size)
        if not self.memories or set(self.memories) - set(MEMORIES):
            raise ValueError(f"memories={list(self.memories)}; known: {', '.join(MEMORIES)}")
        if self.memory.path is not None:
            raise ValueError(
                "memory.path is not used in preparing; every clip has a memory of its own"
            )

    def made(self) -> dict[str, Any]:
        """What every clip depends on beside its recording and its start, for fingerprints."""
        names = (
            *("size", "frames", "fps", "pixels", "memories"),
            *("recording", "split", "memory", "retrieval", "rendering"),
        )
        made = {"code": CODE_VERSION, **flat({name: getattr(self, name) for name in names})}
        for name in NO_MATTER:
            made.pop(name)
        # Options of memory systems that are not prepared: a new system makes no old clip stale.
        unused = tuple(f"memory.{kind}." for kind in MEMORIES if kind not in self.memories)
        made = {
            name: value
            for name, value in made.items()
            if not name.startswith(unused) and (name, value) not in ADDED_LATER.items()
        }
        if "memory.global_cloud.preceding" in made:
            # They were single references before.
            made["memory.global_cloud.preceding_as"] = "clip"
        kind = self.perception.kind
        options = flat(getattr(self.perception, kind, {}), f"perception.{kind}")
        if (moving := self.perception.moving) != "none":
            options["perception.moving"] = moving
            options |= flat(getattr(self.perception, moving), f"perception.{moving}")
        return {**made, "perception.kind": kind, **options, **self.caption.made()}

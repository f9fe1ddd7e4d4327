"""PrepareConfig: the options of preparing, and those that a clip depends on."""

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

# Incremented whenever the same recording and config give different clips than before.
CODE_VERSION = 2
# `start` and bank paths differ for every clip; both renderers give the same pixels.
NO_MATTER = ("split.start", "memory.kind", "memory.path", "rendering.renderer")


@dataclass(frozen=True)
class PrepareConfig:
    """The options of preparing.

    Args:
        source: a recording, a folder with recordings at any depth, "procedural:..." words, or a
            list of these.
        missing: how to handle frames that a recording lists but does not contain.
        recording: overrides for all recordings.
        check: how to handle memories that contradict each other: `warn`, `error` (the clip
            counts as failed) or `off`, see `evaluation/contradiction.py`.
        output: the data set's folder.
        family: family of the backbone that the clips are for, which determines valid sizes.
        size: (height, width) that frames are cropped and resized to; multiples of 16 (cogvideox)
            or 32 (wan). Paper section 4.1: 480x720.
        frames: length T of a clip; 4k + 1 (paper section 4.1: 49).
        fps: frames per second of the written videos (released script: 8).
        pixels: `video` writes H.264 files, `raw` exact pixels, see `datasets/clip_videos.py`.
        clips_per_recording: maximum number of stretches per recording; null = all that fit.
        stride: frames between the starts of consecutive stretches; null = no overlap.
        memories: memory systems whose anchors to prepare.
        split: target and history of a stretch (paper section 4.1: 49 + 21 interleaved).
        perception: where depth comes from.
        memory: options of the memory systems (its `kind` and `path` are set for each of them).
        retrieval: how memories are chosen. In training at random from the pool (paper section
            4.1); the choice depends on `retrieval.seed` and the clip's name.
        rendering: how points become pixels.
        caption: where captions come from.

    Raises:
        ValueError: an unknown family or memory system, or an unsupported length or size.
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
            raise ValueError("memory.path is not used in preparing; every clip has its own memory")

    def made(self) -> dict[str, Any]:
        """Settings that every clip depends on besides its recording and start, for fingerprints."""
        names = (
            *("size", "frames", "fps", "pixels", "memories"),
            *("recording", "split", "memory", "retrieval", "rendering"),
        )
        made = {"code": CODE_VERSION, **flat({name: getattr(self, name) for name in names})}
        for name in NO_MATTER:
            made.pop(name)
        # Without options of unused memory systems, so that a new system does not make old clips
        # stale.
        unused = tuple(f"memory.{kind}." for kind in MEMORIES if kind not in self.memories)
        made = {
            name: value
            for name, value in made.items()
            if not name.startswith(unused) and (name, value) not in ADDED_LATER.items()
        }
        if "memory.global_cloud.preceding" in made:
            # Older clips store them as single references.
            made["memory.global_cloud.preceding_as"] = "clip"
        kind = self.perception.kind
        options = flat(getattr(self.perception, kind, {}), f"perception.{kind}")
        if (moving := self.perception.moving) != "none":
            options["perception.moving"] = moving
            options |= flat(getattr(self.perception, moving), f"perception.{moving}")
        return {**made, "perception.kind": kind, **options, **self.caption.made()}

"""MemoryConfig: which memory system remembers, and the options of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from anchorweave.retrieval.context_frames import CONTEXT_CHOICES
from anchorweave.retrieval.scene_overlap import REFERENCE_CHOICES

# Options that came later than the first clips and videos, and what was done before there were any:
# at that they go unmentioned in what a file was made with, so that older files are not stale.
ADDED_LATER = {
    "memory.limit": None,
    "memory.evict": "least_unique",
    "memory.global_cloud.choose": "overlap",
    "memory.global_cloud.preceding": 0,
    "pixels": "video",
    "split.step": None,
    "recording.depth_scale": None,
    "recording.intrinsics": None,
    "recording.order": "auto",
    "recording.field_of_view": None,
    "recording.min_confidence": None,
}


@dataclass(frozen=True)
class GlobalCloudConfig:
    """Options of `global_cloud`.

    Args:
        voxel: side of the voxels that points are averaged in, in the recording's unit (Spatia
            table 7 and its released code: 0.01 m).
        references: K, at most so many frames are given as they were seen, and every K-th target
            frame asks for one (Spatia: 7); 0 = none.
        choose: how references are found. overlap gives one target frame after another the frame
            that shares most with it (Spatia's Algorithm 1); hungarian assigns frames to target
            frames one to one, by the points of the cloud that both show, as its released code
            does, and draws the cloud once for every remembered frame.
        min_overlap: a reference must share more than this with the target frame that asks for it,
            as intersection over union (epsilon in Spatia's Algorithm 1; no value given); of
            `choose: overlap` only.
        overlap_voxel: side of the voxels that the overlap is counted in, in the recording's unit
            (not given in the paper). Larger than what neighbouring pixels are apart, or one
            surface seen from two distances would not meet itself. Of `choose: overlap` only.
        preceding: so many of the last frames are given besides (Spatia: the last 9 of the clip
            before); 0 = none. For clips that begin where memory ends, as those of a rollout and of
            `split: later` do, and those of a partial revisit do not.

    Raises:
        ValueError: a value out of range.
    """

    voxel: float = 0.01
    references: int = 7
    choose: Literal["overlap", "hungarian"] = "overlap"
    min_overlap: float = 0.05
    overlap_voxel: float = 0.1
    preceding: int = 0

    def __post_init__(self):
        for name in ("voxel", "overlap_voxel"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(
                    f"memory.global_cloud.{name} is a length above 0, met {getattr(self, name)}"
                )
        for name in ("references", "preceding"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"memory.global_cloud.{name} must be 0 or more, met {getattr(self, name)}"
                )
        if self.choose not in REFERENCE_CHOICES:
            known = ", ".join(REFERENCE_CHOICES)
            raise ValueError(f"memory.global_cloud.choose is one of {known}, met {self.choose!r}")
        if not 0 <= self.min_overlap <= 1:
            raise ValueError(
                f"memory.global_cloud.min_overlap is a share in [0, 1], met {self.min_overlap}"
            )


@dataclass(frozen=True)
class MapAndKeyframesConfig:
    """Options of `map_and_keyframes`.

    Args:
        voxel: side of the map's voxels, in the recording's unit (SPMem's released code: 0.02).
        cap: the scene's largest dimension may have so many voxels; in a larger scene they grow
            (SPMem: 1200).
        min_weight: a surface stays in the map if so many frames said something of the voxels
            around it (SPMem drops those of low confidence; not given in the paper). At 1, what a
            single frame showed stays unless another one looks through it.
        splat_radius: the map's points are drawn this large, in the place of
            `rendering.splat_radius`: they stand a voxel apart, which is more than a pixel (SPMem's
            released code: 0.008 of half the image, 2 pixels at 480).
        episodic: at most so many key frames are given (SPMem's released code: 10); 0 = none.
        min_revealed: a frame becomes a key frame if it shows, in more than this share of its
            pixels, what no key frame did (not given in the paper).
        depth_tolerance: share by which the depths of one surface may differ between two frames
            (not given in the paper).
        choose: which key frames are given: revealed takes those that revealed most when they came,
            frustum those that add most to the overlap with the target's views, as SPMem's released
            code does. The paper gives no rule.
        min_overlap: a key frame must hold this share of the frustum of one target frame at least;
            of `choose: frustum` only (SPMem's released code: 0.3).
        working: so many of the last frames are given besides (SPMem: 5); 0 = none.

    Raises:
        ValueError: a value out of range.
    """

    voxel: float = 0.02
    cap: int = 1200
    min_weight: int = 1
    splat_radius: int = 2
    episodic: int = 10
    min_revealed: float = 0.25
    depth_tolerance: float = 0.05
    choose: Literal["revealed", "frustum"] = "revealed"
    min_overlap: float = 0.3
    working: int = 5

    def __post_init__(self):
        where = "memory.map_and_keyframes"
        if not 0 < self.voxel < float("inf"):
            raise ValueError(f"{where}.voxel is a length above 0, met {self.voxel}")
        lowest = {"cap": 1, "min_weight": 1, "splat_radius": 0, "episodic": 0, "working": 0}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ValueError(f"{where}.{name} must be {low} or more, met {getattr(self, name)}")
        for name in ("min_revealed", "depth_tolerance", "min_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{where}.{name} is a share in [0, 1], met {getattr(self, name)}")
        if self.choose not in ("revealed", "frustum"):
            raise ValueError(f"{where}.choose is revealed or frustum, met {self.choose!r}")


@dataclass(frozen=True)
class PosedFramesConfig:
    """Options of `posed_frames`.

    Args:
        context: k, at most so many frames are given, the newest included (Context-as-Memory: 20).
        choose: the frames besides the newest. far takes from each run of consecutive frames in
            view one at random, those first that are farthest apart in space or time; non_adjacent
            leaves that order to chance; random_in_view takes any in view, random any at all. Where
            too few are left, the others are drawn at random (Context-as-Memory, section 4). recent
            takes the newest ones; first gives the first frame alone and first_and_random it and any
            others, both in the place of the newest (its table 1).
        overlap: how two cameras are said to look at the same: area by the plan view that they share
            (not given in the paper), rays by the paper's four rays, which miss what was seen from
            the same place or straight ahead.
        min_overlap: a frame is in view if it shares this much of the plan view of a target frame;
            of `overlap: area` only (not given in the paper).
        near: views begin, or rays meet, at this distance or farther, in the recording's unit (named
            and not given in the paper).
        far: they end, or meet, at this one or nearer (likewise).
        as_anchors: give the frames as anchors that stand still, in `retrieval.anchors` slots, and
            not as references (an ablation, not in the paper).

    Raises:
        ValueError: a value out of range.
    """

    context: int = 20
    choose: Literal[
        "far",
        "non_adjacent",
        "random_in_view",
        "random",
        "recent",
        "first_and_random",
        "first",
    ] = "far"
    overlap: Literal["area", "rays"] = "area"
    min_overlap: float = 0.05
    near: float = 0.1
    far: float = 5.0
    as_anchors: bool = False

    def __post_init__(self):
        where = "memory.posed_frames"
        if self.context < 1:
            raise ValueError(f"{where}.context must be 1 or more, met {self.context}")
        if self.choose not in CONTEXT_CHOICES:
            known = ", ".join(CONTEXT_CHOICES)
            raise ValueError(f"{where}.choose is one of {known}, met {self.choose!r}")
        if self.overlap not in ("area", "rays"):
            raise ValueError(f"{where}.overlap is area or rays, met {self.overlap!r}")
        if not 0 < self.min_overlap <= 1:
            raise ValueError(f"{where}.min_overlap is a share in (0, 1], met {self.min_overlap}")
        if not 0 <= self.near < self.far < float("inf"):
            raise ValueError(
                f"{where}.far must be above near, and near 0 or more, met near {self.near} and far "
                f"{self.far}"
            )


@dataclass(frozen=True)
class MemoryConfig:
    """Which memory system remembers, and how.

    Args:
        kind: the system; `anchorweave.memory.MEMORIES` lists them.
        path: folder of the memory bank; null = a new one inside the run's output folder.
        limit: retrieval chooses from at most so many frames, of `local_clouds` alone; null = from
            all. The bank keeps all of them (ours; not in the papers).
        evict: which frame goes where one is too many: the one of `least_unique` coverage, whose
            view the others show best, or the `oldest`.
        depth_edge: points at a relative step in depth above this are dropped when a memory is
            rendered: they float between two surfaces. Not given in the paper.
        global_cloud: options of that system.
        map_and_keyframes: options of that system.
        posed_frames: options of that system.
    """

    kind: Literal["local_clouds", "global_cloud", "map_and_keyframes", "posed_frames"] = (
        "local_clouds"
    )
    path: str | None = None
    limit: int | None = None
    evict: Literal["least_unique", "oldest"] = "least_unique"
    depth_edge: float = 0.04
    global_cloud: GlobalCloudConfig = field(default_factory=GlobalCloudConfig)
    map_and_keyframes: MapAndKeyframesConfig = field(default_factory=MapAndKeyframesConfig)
    posed_frames: PosedFramesConfig = field(default_factory=PosedFramesConfig)

    def __post_init__(self):
        if self.limit is None:
            return
        if self.limit < 1:
            raise ValueError(f"memory.limit={self.limit}: is a number of frames, at least 1")
        if self.kind != "local_clouds":
            raise ValueError(
                f"memory.limit={self.limit}: memory={self.kind} chooses from all it keeps; a limit "
                "is of memory=local_clouds"
            )

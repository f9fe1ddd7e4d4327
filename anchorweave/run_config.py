"""RunConfig: all options of an inference run, and ModelConfig, SamplingConfig, RolloutConfig."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from anchorweave.datasets.splits import SplitConfig
from anchorweave.evaluation.contradiction import Check
from anchorweave.memory import MemoryConfig
from anchorweave.models.weaving.released_file import is_released_file
from anchorweave.perception import PerceptionConfig
from anchorweave.recordings.config import RecordingConfig
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig

# Allowed image sides in pixels; larger ones would exhaust memory before any error message.
SIDES = (16, 8192)


@dataclass(frozen=True)
class ModelConfig:
    """Which networks generate.

    Args:
        path: a folder in diffusers' layout (an AnchorWeave pipeline, or an official image-to-video
            one: CogVideoX, Wan2.2-TI2V), or `tiny`, `tiny_wan`: small networks with random weights,
            built in code.
        controller: a folder (such as `controller/` of a training checkpoint) or a released file
            (`.pt`, `.safetensors`) with the weaving controller; null = the one of `path`, or a new,
            untrained one.
        released_weights: which weights of a released file to use: its moving average or the live
            ones (its first stage has no moving average).
        references: a folder (such as `references/` of a training checkpoint) with a reference
            network; null = the one of `path`, or none.
        lora: a folder (such as `backbone_lora/` of a training checkpoint) with a LoRA adapter for
            the backbone; null = none.
        dtype: precision of all networks.
        device: `auto` (a GPU if available), `cpu` or `cuda`.
        offload: `model` keeps only the active network on the GPU, `group` only the backbone's
            active block while the next one is prefetched (both need a GPU); `none` keeps all there.
        tile_vae: encode and decode one video at a time, in overlapping tiles: much less memory, a
            little slower.
        attention_backend: attention implementation: `auto` (torch's choice), one of torch's kernels
            (`cudnn`, `flash`, `efficient`, `math`), or an installed package (`flash_attn`, `sage`).
        compile: `regional` compiles the blocks of backbone and controller, once per kind: takes
            minutes before the first step.
        storage: storage precision of the backbone's weights: `dtype`, or `float8`, half of
            bfloat16's memory, cast to `dtype` layer by layer for computation.
        split: `guidance` computes the two halves of guidance on two ranks (`torchrun
            --nproc-per-node 2 -m inference.sample`).
    """

    path: str = "tiny"
    controller: str | None = None
    released_weights: Literal["ema", "live"] = "ema"
    references: str | None = None
    lora: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    offload: Literal["none", "model", "group"] = "none"
    tile_vae: bool = False
    attention_backend: Literal[
        "auto", "cudnn", "flash", "efficient", "math", "flash_attn", "sage"
    ] = "auto"
    compile: Literal["none", "regional"] = "none"
    storage: Literal["dtype", "float8"] = "dtype"
    split: Literal["none", "guidance"] = "none"

    def __post_init__(self):
        if self.released_weights != "ema" and not is_released_file(self.controller):
            raise ValueError(
                f"model.released_weights={self.released_weights} chooses within a released file, "
                f"and model.controller={self.controller} is none; leave it out (folders of a "
                "training end in _ema for the running average)"
            )


@dataclass(frozen=True)
class SamplingConfig:
    """How a video is sampled.

    Args:
        prompt: the prompt; null = the recording's `caption.txt`, or the empty prompt.
        negative_prompt: the negative prompt.
        steps: denoising steps (released script: 50).
        guidance: classifier-free guidance scale; 1 = off, which halves the time (released script:
            6, the default of CogVideoX).
        dynamic_guidance: increase guidance over the steps, as CogVideoX does by default; not for
            Wan.
        control_weight: strength of the anchors (paper section 3.4: 1).
        camera_weight: strength of the target poses, "camera 0" (paper section 3.4: 1).
        control_window: range of steps, as fractions, in which both are active. 0.8 in the released
            script and appendix A.1, 0.9 in section 4.1.
        visible_first_frame: whether the tokens of an anchor's frame 0 count as seen only where they
            were `seen`, or `always`, as the released controller was trained.
        start: initial latents: `noise`, or the noised composite of the `anchors` with holes filled,
            from which only the last steps are run (our addition; for any backbone, also with both
            weights 0). If no anchor shows anything of a frame, the nearest frame in time is used,
            or the first frame if there is no other. The control window counts the steps that are
            run; dynamic guidance continues as in a run of all steps.
        start_share: with `anchors`, fraction of the steps to run, in (0, 1]; at least one step.
        control_every: run the controller only in every so many steps, and reuse its output in
            between (our addition); 1 = in every step.
    """

    prompt: str | None = None
    negative_prompt: str = ""
    steps: int = 50
    guidance: float = 6.0
    dynamic_guidance: bool = True
    control_weight: float = 1.0
    camera_weight: float = 1.0
    control_window: tuple[float, float] = (0.0, 0.8)
    visible_first_frame: Literal["seen", "always"] = "seen"
    start: Literal["noise", "anchors"] = "noise"
    start_share: float = 0.3
    control_every: int = 1

    def __post_init__(self):
        _require(self.control_every >= 1, "sampling.control_every", self.control_every, "1 or more")
        _require(self.steps >= 1, "sampling.steps", self.steps, "at least 1")
        _require(self.guidance >= 1, "sampling.guidance", self.guidance, "at least 1 (1 = off)")
        share = self.start_share
        _require(0 < share <= 1, "sampling.start_share", share, "a share of the steps in (0, 1]")


@dataclass(frozen=True)
class RolloutConfig:
    """A long video in segments.

    Args:
        trajectory: a preset, the paper's keyboard commands (both listed in
            `geometry/trajectories.py`), or the path of a camera file.
        segments: number of segments of `frames` frames; each shares one frame with the previous
            one.
        seen: number of frames from the recording's start to remember; the rollout continues from
            the last one.
        prompts: one prompt per segment, instead of `sampling.prompt` or the recording's caption;
            null = that one for all.
        unit: unit of lengths of the trajectory: `scene`, the median depth of the start frame (most
            camera files have no metric scale), or `recording`, the unit of the recording's poses,
            such as a metre.
    """

    trajectory: str = "there_and_back(orbit(degrees=30))"
    segments: int = 3
    seen: int = 1
    prompts: tuple[str, ...] | None = None
    unit: Literal["scene", "recording"] = "scene"

    def __post_init__(self):
        _require(self.segments >= 1, "rollout.segments", self.segments, "at least 1")
        _require(self.seen >= 1, "rollout.seen", self.seen, "at least 1")
        if self.prompts is not None and len(self.prompts) != self.segments:
            raise ValueError(
                f"rollout.prompts lists {len(self.prompts)} prompts for rollout.segments="
                f"{self.segments}; give one per segment"
            )


@dataclass(frozen=True)
class RunConfig:
    """Everything one run of `inference/` needs.

    Args:
        source: a recording: any folder or file supported by `recordings.open_recording`.
        missing: what to do with frames that a recording lists but does not hold.
        recording: overrides for what the recording states: depth scale, intrinsics, frame order.
        check: what to do with inconsistent memories, caused by a wrong unit, K or poses: `warn`,
            `error` (reject) or `off`; see `evaluation/contradiction.py`.
        output: the output folder.
        seed: seed of the sampling noise.
        size: (height, width) that frames are cropped and resized to; multiples of 16 (cogvideox) or
            32 (wan). Paper section 4.1: 480x720.
        frames: length T of a generated clip; 4k + 1 (paper section 4.1: 49).
        fps: frame rate of written videos (released script: 8).
    """

    source: str = "data/example_dataset"
    missing: Literal["error", "skip"] = "error"
    check: Check = "warn"
    output: str = "outputs/run"
    seed: int = 0
    size: tuple[int, int] = (480, 720)
    frames: int = 49
    fps: int = 8
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    perception: PerceptionConfig = field(default_factory=PerceptionConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    rendering: RenderConfig = field(default_factory=RenderConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)

    def __post_init__(self):
        _require(self.frames >= 2, "frames", self.frames, "at least 2 (one is given)")
        _require(self.fps >= 1, "fps", self.fps, "at least 1")
        if self.rollout.prompts is not None and self.sampling.prompt is not None:
            raise ValueError(
                "rollout.prompts and sampling.prompt are both set; the former is one prompt per "
                "segment, the latter one for all: leave one out"
            )
        fits = all(SIDES[0] <= side <= SIDES[1] for side in self.size)
        _require(fits, "size", list(self.size), f"two sides of {SIDES[0]} to {SIDES[1]} pixels")


def _require(holds: bool, key: str, met: Any, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{key}={met}: must be {wanted}")

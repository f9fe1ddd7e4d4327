"""The source of a run: opened, cropped to the configured size, with depth and a prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anchorweave.clip import Clip
from anchorweave.evaluation.contradiction import check_memories
from anchorweave.files import file_sum, write_json
from anchorweave.memory import MEMORIES
from anchorweave.perception import check_depth, make_perception
from anchorweave.recordings import (
    FOLDER_FORMATS,
    Recording,
    camera_files_in,
    open_recording,
)
from anchorweave.recordings.base import CAPTION
from anchorweave.recordings.reconstruction import ReconstructionConfig, is_footage, reconstruct
from anchorweave.run_config import RunConfig
from anchorweave.world import scene_unit

# Subfolder of the output with the reconstructed recording of plain footage.
RECORDING = "recording"


def posed(config: RunConfig) -> RunConfig:
    """The run itself, or, if its source is plain footage, with a reconstructed recording as source.

    Cameras are estimated once: the recording stays in the output folder, and is reused while the
    footage and the camera options are unchanged.

    Raises:
        NotReconstructedError: too few frames of the footage could be registered.
        ValueError: the output holds a recording of other footage.
    """
    source, place = Path(config.source), Path(config.output) / RECORDING
    if not is_footage(source) or _has_poses(source):
        return config
    files = [source] if source.is_file() else sorted(f for f in source.iterdir() if f.is_file())
    made_of = {
        "footage": [[f.name, file_sum(f)] for f in files],
        "recording": [config.recording.intrinsics, config.recording.field_of_view],
    }
    made_of = json.loads(json.dumps(made_of))
    note = place.with_name(f"{RECORDING}.json")
    if not place.exists():
        report = reconstruct(source, place, ReconstructionConfig(), config.recording)
        write_json(made_of, note)
        print("\n".join(report.lines()))
    elif not note.is_file() or json.loads(note.read_text()) != made_of:
        raise ValueError(
            f"{place} was made from other footage than source={source}, or before the footage "
            "changed; remove it, or set another output"
        )
    print(f"{source}: cameras estimated, see source={place}")
    changes = {"source": str(place), "recording": replace(config.recording, intrinsics=None)}
    if config.perception.kind == "recorded":
        print("footage holds no depth: perception=plane_sweep")
        changes["perception"] = replace(config.perception, kind="plane_sweep")
    if config.rollout.seen == 1:
        # One frame has no parallax; everything that was filmed is to be remembered.
        count = len(open_recording(place))
        print(f"using all of it: rollout.seen={count}")
        changes["rollout"] = replace(config.rollout, seen=count)
    return replace(config, **changes)


def _has_poses(source: Path) -> bool:
    """Whether a folder of images also has poses (7-Scenes), or a camera file."""
    if source.is_file():
        return False
    is_known = any(is_format(source) for is_format, _ in FOLDER_FORMATS.values())
    return is_known or bool(camera_files_in(source))


def open_source(config: RunConfig) -> Recording:
    """Opens the recording at `config.source`.

    Raises:
        ValueError: a trajectory without frames, or a recording without the depth that
            `config.perception` reads from it.
    """
    recording = open_recording(config.source, config.missing, config.recording)
    if not recording.has_frames:
        raise ValueError(
            f"source={config.source} is a trajectory without frames; pass it as "
            "rollout.trajectory=, and a recording with frames as source"
        )
    check_depth(config.perception, recording.has_depth, f"source={config.source}")
    if config.perception.kind == "none" and MEMORIES[config.memory.kind].reads_depth:
        without = ", ".join(kind for kind, memory in MEMORIES.items() if not memory.reads_depth)
        raise ValueError(
            f"perception=none: memory={config.memory.kind} needs depth; memory={without} stores "
            "only frames, for the others estimate depth"
        )
    return recording


def unit_of(config: RunConfig, seen: Clip) -> float:
    """Length of one scene unit, from the newest frame's depth; without depth, the recording's unit.

    Raises:
        ValueError: no valid depth although it is expected.
    """
    return 1.0 if config.perception.kind == "none" else scene_unit(seen.depth[-1])


def seen_clip(config: RunConfig, recording: Recording, indices: Sequence[int]) -> Clip:
    """Frames of the recording at the configured size, with depth from `config.perception`.

    Args:
        config: the run.
        recording: the recording.
        indices: which frames, in temporal order.

    Raises:
        ValueError: with `check=error`, inconsistent frames.
    """
    perceive = make_perception(config.perception.kind, config.perception)
    seen = perceive(recording.clip(indices, config.size))
    check_memories(seen, config.check, str(recording.path))
    return seen


def prompt_of(
    config: RunConfig,
    recording: Recording | None,
    begun: str | None = None,
    frames: Sequence[int] | None = None,
) -> tuple[str, str]:
    """The prompt, and a line that says where it comes from.

    If `rollout.prompts` sets the prompts of segments, the line lists these.

    Args:
        config: the run.
        recording: the source; None when continuing from a memory.
        begun: the prompt of the rollout being resumed; None = there is none.
        frames: positions of the recording that the prompt should describe; None = all.
    """
    if config.rollout.prompts is not None:
        each = config.rollout.prompts
        return each[0], f"prompts, one per segment: {'; '.join(one or 'none' for one in each)}"
    if begun is not None:
        return begun, f"prompt: {begun or 'none'}"
    if config.sampling.prompt is not None:
        return config.sampling.prompt, f"prompt: {config.sampling.prompt}"
    if recording is not None and (caption := recording.caption(frames)) is not None:
        return caption, f"prompt (the recording's caption): {caption}"
    return "", f"prompt: none (set sampling.prompt=, or add a {CAPTION} to the recording)"

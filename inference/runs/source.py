"""The recording of a run: opened, cut to the configured size, and given depth and a prompt."""

from __future__ import annotations

from collections.abc import Sequence

from anchorweave.clip import Clip
from anchorweave.config import RunConfig
from anchorweave.evaluation.contradiction import check_memories
from anchorweave.perception import check_depth, make_perception
from anchorweave.recordings import Recording, open_recording
from anchorweave.recordings.base import CAPTION


def open_source(config: RunConfig) -> Recording:
    """The recording at `config.source`.

    Raises:
        ValueError: a trajectory without frames, or a recording without the depth that
            `config.perception` takes from it.
    """
    recording = open_recording(config.source, config.missing, config.recording)
    if not recording.has_frames:
        raise ValueError(
            f"source={config.source} is a trajectory without frames; give it as "
            "rollout.trajectory=, and as source a recording with frames"
        )
    check_depth(config.perception, recording.has_depth, f"source={config.source}")
    return recording


def seen_clip(config: RunConfig, recording: Recording, indices: Sequence[int]) -> Clip:
    """Frames of the recording at the configured size, with depth as `config.perception` finds it.

    Args:
        config: the run.
        recording: of which frames are taken.
        indices: which ones, in the order they were seen.

    Raises:
        ValueError: with `check=error`, frames that contradict each other.
    """
    perceive = make_perception(config.perception.kind, config.perception)
    seen = perceive(recording.clip(indices, config.size))
    check_memories(seen, config.check, str(recording.path))
    return seen


def prompt_of(config: RunConfig, recording: Recording | None) -> tuple[str, str]:
    """What is to be shown, and one line that says where the words come from.

    Args:
        config: the run.
        recording: what it starts from; None where it goes on with a memory.
    """
    if config.sampling.prompt is not None:
        return config.sampling.prompt, f"prompt: {config.sampling.prompt}"
    if recording is not None and (caption := recording.caption()) is not None:
        return caption, f"prompt (the recording's caption): {caption}"
    return "", f"prompt: none (set sampling.prompt=, or put a {CAPTION} beside the recording)"

"""The recording of a run: opened, cut to the configured size, and given depth."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from anchorweave.clip import Clip
from anchorweave.config import RunConfig, save_config
from anchorweave.memory import Bank, Memory, open_memory
from anchorweave.perception import make_perception
from anchorweave.recordings import Recording, open_recording


def open_source(config: RunConfig) -> Recording:
    """The recording at `config.source`.

    Raises:
        ValueError: a trajectory without frames.
    """
    recording = open_recording(config.source, config.missing)
    if not recording.has_frames:
        raise ValueError(
            f"source={config.source} is a trajectory without frames; give it as "
            "rollout.trajectory=, and as source a recording with frames"
        )
    return recording


def seen_clip(
    config: RunConfig, recording: Recording, indices: Sequence[int], memory: Memory
) -> Clip:
    """Frames of the recording at the configured size, with depth as `config.perception` finds it.

    Args:
        config: the run.
        recording: of which frames are taken.
        indices: which ones, in the order they were seen.
        memory: what is known already, as a prior.
    """
    clip = recording.clip(indices, config.size)
    known = memory.known_depth(clip.cameras) if len(memory) else None
    return make_perception(config.perception.kind, config.perception)(clip, known)


def open_run(config: RunConfig, fresh_memory: bool) -> tuple[Path, Memory]:
    """The output folder, with the resolved config in it, and the run's memory.

    Args:
        config: the run.
        fresh_memory: begin anew where the run keeps its memory in its own output folder; a bank
            named by `memory.path` is opened and continued in any case.
    """
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    own = output / "memory"
    if config.memory.path is None and fresh_memory and own.exists():
        shutil.rmtree(own)
    save_config(config, output / "config.yaml")
    bank = Bank(config.memory.path or own)
    return output, open_memory(bank, config.memory, config.retrieval, config.rendering)

"""One image and a trajectory: several segments, each from the last frame of the one before.

    python -m inference.rollout rollout.trajectory='pan(degrees=40)' rollout.segments=2
    python -m inference.rollout rollout.trajectory='move_left:8, orient_up:8, move_backward:8'
    python -m inference.rollout memory.path=outputs/rollout/memory output=outputs/further

Memory grows by the new frames of every segment. Run again, it continues at the segment where it
stopped; pointed at the memory of an earlier run, it goes on from that run's last frame. Writes to
`output`: rollout.mp4; rollout.png, a column per segment; segments/NNNN.mp4, each beside what memory
showed it, and segments/NNNN.json, why; rollout.json (where it stands), config.yaml and the memory
bank.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from anchorweave.anchors import composite
from anchorweave.config import RunConfig, load_config
from anchorweave.files import written_aside
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.trajectories import trajectory
from anchorweave.memory import Bank
from anchorweave.perception import make_perception
from anchorweave.recordings import open_recording
from anchorweave.video import write_video
from anchorweave.world import Segment, World, scene_unit
from inference.generator import load_pipeline, make_generator
from inference.montage import contact_sheet, side_by_side
from inference.report import selection, write_json
from inference.source import open_run, open_source, seen_clip

DEFAULT = "configs/tiny.yaml"
STATE = "rollout.json"


def main(words: list[str]) -> None:
    """Run or continue a rollout with `a.b=c` overrides."""
    config = load_config(RunConfig, ["output=outputs/rollout", *words], DEFAULT)
    console = Console()
    refuse_other_config(config)
    pipe, weights = load_pipeline(config)
    state_file = Path(config.output) / STATE
    output, memory = open_run(config, fresh_memory=not state_file.exists())
    bank: Bank = memory.bank
    console.print(f"source: {config.source}, {weights}")
    if not state_file.exists():
        if not len(bank):
            recording = open_source(config)
            memory.update(seen_clip(config, recording, range(config.rollout.seen), memory))
        state = {"base": len(bank), "unit": scene_unit(bank.depth(len(bank) - 1))}
        write_json(state, state_file)
    state = json.loads(state_file.read_text())

    base, steps = state["base"], config.frames - 1
    cameras = planned_cameras(config, bank.cameras[base - 1], state["unit"])
    world = World(
        memory,
        make_perception(config.perception.generated, config.perception),
        make_generator(pipe, config.sampling),
        state["unit"],
    )

    def newest() -> Tensor:
        return bank.frame(len(bank) - 1)

    done = (len(bank) - base) // steps
    if done:
        console.print(f"{done} of {config.rollout.segments} segments are there; continuing")
    (output / "segments").mkdir(exist_ok=True)
    for segment in world.rollout(newest(), cameras, config.frames, config.seed, done, newest):
        write_segment(segment, bank.names[-1], output / "segments", config.fps)
        console.print(f"segment {segment.number + 1} of {config.rollout.segments} generated")

    video = torch.stack([bank.frame(i) for i in range(base - 1, len(bank))])
    write_video(output / "rollout.mp4", video, config.fps)
    columns = {
        f"segment {number}": video[number * steps : (number + 1) * steps + 1]
        for number in range((len(video) - 1) // steps)
    }
    with written_aside(output / "rollout.png") as aside:
        contact_sheet(side_by_side(columns)).save(aside)
    console.print(
        f"{weights}\n{len(video)} frames; look at {output}/rollout.mp4, {output}/rollout.png"
    )


def write_segment(segment: Segment, before: str, folder: Path, fps: int) -> None:
    """A segment's new frames beside its anchors, and the choice of memories.

    Args:
        segment: the segment.
        before: name of the frame that it starts from.
        folder: where its files go.
        fps: frames per second.
    """
    anchors = segment.retrieved.anchors
    tiles = {f"anchor {slot}": video[1:] for slot, video in enumerate(anchors.video)}
    tiles["anchors, composite"] = composite(anchors)[0][1:]
    montage = side_by_side({"generated": segment.clip.frames, **tiles})
    write_video(folder / f"{segment.number:04d}.mp4", montage, fps)
    chunks = selection(segment.retrieved.report, (before, *segment.clip.names))
    write_json(chunks, folder / f"{segment.number:04d}.json")


def planned_cameras(config: RunConfig, start: Cameras, unit: float) -> Cameras:
    """The cameras of the whole rollout, beginning at `start`: a path in words or a camera file.

    Lengths in a camera file count as scene units: most such files have no metric scale.
    """
    count = config.rollout.segments * (config.frames - 1) + 1
    spec = config.rollout.trajectory
    if not Path(spec).exists():
        return trajectory(spec, start, count, unit)
    path = open_recording(spec, config.missing).cameras
    path = path.at(torch.linspace(0, len(path) - 1, count))
    path2start = path.relative_to(path[0])
    path2start[:, :3, 3] *= unit
    return Cameras(start.c2w @ path2start, start.K.expand(count, 3, 3), start.size)


def refuse_other_config(config: RunConfig) -> None:
    """A rollout is continued only as it was begun.

    Raises:
        ValueError: the output folder holds a rollout with another config, and which keys differ.
    """
    output = Path(config.output)
    if not (output / STATE).exists():
        return
    begun = load_config(RunConfig, [f"config={output / 'config.yaml'}"])
    differing = [
        f"{name} (was {getattr(begun, name)}, now {getattr(config, name)})"
        for name in config.__dataclass_fields__
        if getattr(begun, name) != getattr(config, name)
    ]
    if differing:
        raise ValueError(
            f"{output} holds a rollout that was begun with another config: {'; '.join(differing)}; "
            "run it as it was, or set another output"
        )


if __name__ == "__main__":
    main(sys.argv[1:])

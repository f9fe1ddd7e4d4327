"""Generate a long video along a trajectory: segments, each starting from the last frame.

    python -m inference.rollout rollout.trajectory='pan(degrees=40)' rollout.segments=2
    python -m inference.rollout rollout.trajectory='move_left:8, orient_up:8, move_backward:8'
    python -m inference.rollout memory.path=outputs/rollout/memory output=outputs/further

Memory grows by the new frames of every segment. Running it again resumes at the segment where it
stopped; with the memory of an earlier run, it continues from that run's last frame. Writes to
`output`: rollout.mp4; rollout.png, one column per segment; segments/NNNN.mp4, each next to its
anchors, and segments/NNNN.json, the retrieval report; rollout.json (the state), config.yaml and the
memory bank.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from anchorweave.anchors import composite
from anchorweave.clip import Clip
from anchorweave.command import Command
from anchorweave.config import load_config, save_config
from anchorweave.datasets.fingerprint import differences, flat
from anchorweave.evaluation.montage import contact_sheet, side_by_side
from anchorweave.file_sets import finish_set, written_together
from anchorweave.files import write_json
from anchorweave.geometry.cameras import Cameras
from anchorweave.locks import in_use, refuse_in_use
from anchorweave.memory import Bank, Memory
from anchorweave.perception import make_perception
from anchorweave.pipelines import WeavingMixin
from anchorweave.run_config import RunConfig
from anchorweave.video import write_video
from anchorweave.world import Segment, World
from inference.runs.generator import load_pipeline, make_segment_generators
from inference.runs.made import networks_made
from inference.runs.output import (
    CONFIG,
    ROLLOUT,
    bank_path,
    begin_memory,
    memory_over,
    open_bank,
)
from inference.runs.path import planned_cameras
from inference.runs.report import selection
from inference.runs.scale import bank_unit
from inference.runs.source import open_source, posed, prompt_of, seen_clip, unit_of

DEFAULT = "configs/tiny.yaml"
# Overrides the main job's results folder, and every YAML file.
PRESET = ("output=outputs/rollout",)
# Rows of the picture of a rollout.
SHEET_ROWS = 6


@dataclass(frozen=True)
class Plan:
    """What a rollout is about to do.

    Args:
        seen: frames of the recording to remember first; None when continuing from a memory.
        base: number of frames in memory before the rollout's first one.
        unit: length of one scene unit.
        prompt: the prompt, and a line that says where it comes from.
        cameras: cameras of the whole rollout, starting with the newest frame before it.
        done: number of segments already in memory.
    """

    seen: Clip | None
    base: int
    unit: float
    prompt: tuple[str, str]
    cameras: Cameras
    done: int = 0


def main(words: list[str]) -> None:
    """Run or resume a rollout with `a.b=c` overrides."""
    config = posed(load_config(RunConfig, [*PRESET, *words], DEFAULT))
    finish_set(config.output)
    refuse_other_config(config)
    with ExitStack() as held:
        held.enter_context(in_use(config.output))
        roll_out(config, held)


def roll_out(config: RunConfig, held: ExitStack) -> None:
    """Runs or resumes the rollout.

    Args:
        config: config of the run, whose output is already locked.
        held: also locks the memory bank against other runs, before it is read.

    Raises:
        FolderInUseError: another run uses the bank.
    """
    console = Console()
    begins = config.memory.path is None and not (Path(config.output) / ROLLOUT).exists()
    if begins:
        # What is there is about to be removed.
        refuse_in_use(bank_path(config))
    else:
        held.enter_context(in_use(bank_path(config)))
    # Nothing is written until everything requested is known to be possible.
    plan = make_plan(config)
    pipe, weights = load_pipeline(config)
    made = networks_made(pipe)
    if "new (untrained" in weights:
        # It has no effect, and differs every time.
        made = {key: value for key, value in made.items() if not key.endswith(".controller")}
    note = refuse_other_networks(config, made)
    prompt, about_prompt = plan.prompt
    console.print(f"source: {config.source}\n{about_prompt}\n{weights}")
    if plan.done:
        console.print(f"{plan.done} of {config.rollout.segments} segments are there; continuing")
    if note is not None:
        console.print(note, markup=False, soft_wrap=True)

    memory = begin_memory(config) if plan.seen else memory_over(config, open_bank(config))
    if begins:
        held.enter_context(in_use(memory.bank.path))
    write_segments(config, plan, memory, pipe, made, console)
    console.print(f"{weights}\nlook at {config.output}/rollout.mp4, {config.output}/rollout.png")


def write_segments(
    config: RunConfig,
    plan: Plan,
    memory: Memory,
    pipe: WeavingMixin,
    made: dict,
    console: Console,
) -> None:
    """Generates and remembers the planned segments that are not done.

    `made` identifies the networks, and is stored for resuming.
    """
    output, bank, (prompt, _) = Path(config.output), memory.bank, plan.prompt
    if plan.seen:
        memory.update(plan.seen)
    state = {"base": plan.base, "unit": plan.unit, "prompt": prompt, "made": made}
    with written_together(output, (ROLLOUT, CONFIG)) as aside:
        write_json(state, aside / ROLLOUT)
        save_config(config, aside / CONFIG)
    (output / "segments").mkdir(exist_ok=True)
    perceive = make_perception(config.perception.generated, config.perception)
    each = make_segment_generators(pipe, config, prompt)
    world = World(memory, perceive, each[0], plan.unit)

    def newest() -> Tensor:
        return bank.frame(len(bank) - 1)

    for segment in world.rollout(
        newest(), plan.cameras, config.frames, config.seed, plan.done, newest, each
    ):
        write_segment(segment, bank.names[-1], output / "segments", config.fps)
        console.print(f"segment {segment.number + 1} of {config.rollout.segments} generated")
    write_rollout(config, bank, plan.base, output)


def make_plan(config: RunConfig) -> Plan:
    """Plans a new rollout, one that continues from a memory, or an interrupted one.

    Raises:
        ValueError: a memory without depth, or one that another run has changed; anything wrong with
            the source or the trajectory.
    """
    state_file = Path(config.output) / ROLLOUT
    if state_file.exists():
        bank, state = open_bank(config), json.loads(state_file.read_text())
        base, unit = state["base"], state["unit"]
        cameras = planned_cameras(config, bank.cameras[base - 1], unit)
        prompt = prompt_of(config, None, state["prompt"])
        done = segments_done(config, bank, base, cameras)
        return Plan(None, base, unit, prompt, cameras, done)
    if config.memory.path is not None and len(bank := open_bank(config)):
        unit, prompt = bank_unit(bank), prompt_of(config, None)
        return Plan(None, len(bank), unit, prompt, planned_cameras(config, bank.cameras[-1], unit))
    recording = open_source(config)
    prompt = prompt_of(config, recording)
    seen = seen_clip(config, recording, range(config.rollout.seen))
    unit = unit_of(config, seen)
    return Plan(seen, len(seen), unit, prompt, planned_cameras(config, seen.cameras[-1], unit))


def write_rollout(config: RunConfig, bank: Bank, base: int, output: Path) -> None:
    """Writes the long video, including its start frame, and a picture of it."""
    steps, segments = config.frames - 1, config.rollout.segments
    # One frame at a time: a long rollout does not fit in memory.
    frames = (bank.frame(i) for i in range(base - 1, base + segments * steps))
    shown = np.linspace(0, steps, min(SHEET_ROWS, steps + 1)).round().astype(int).tolist()
    columns = {
        f"segment {number}": torch.stack(
            [bank.frame(base - 1 + number * steps + time) for time in shown]
        )
        for number in range(segments)
    }
    names = tuple(f"frame {time}" for time in shown)
    with written_together(output, ("rollout.mp4", "rollout.png")) as aside:
        write_video(aside / "rollout.mp4", frames, config.fps)
        contact_sheet(side_by_side(columns), len(shown), names).save(aside / "rollout.png")


def segments_done(config: RunConfig, bank: Bank, base: int, cameras: Cameras) -> int:
    """Number of this rollout's segments in the bank.

    Raises:
        ValueError: later frames belong to another rollout.
    """
    steps = config.frames - 1
    done = min((len(bank) - base) // steps, config.rollout.segments)
    poses = bank.cameras.c2w[base : base + done * steps]
    if not torch.allclose(poses, cameras.c2w[1 : 1 + done * steps], atol=1e-3):
        raise ValueError(
            f"the memory bank {bank.path} was extended by another run before this one was done, "
            f"so it cannot be resumed; continue with memory.path={bank.path} and another output"
        )
    return done


def write_segment(segment: Segment, before: str, folder: Path, fps: int) -> None:
    """Writes a segment's new frames next to its anchors, and the retrieval report.

    Args:
        segment: the segment.
        before: name of the frame that it starts from.
        folder: folder for its files.
        fps: frames per second.
    """
    anchors = segment.retrieved.anchors
    tiles = {f"anchor {slot}": video[1:] for slot, video in enumerate(anchors.video)}
    tiles["composite"] = composite(anchors)[0][1:]
    montage = side_by_side({"generated": segment.clip.frames, **tiles})
    chunks = selection(segment.retrieved.report, (before, *segment.clip.names))
    names = [f"{segment.number:04d}.{kind}" for kind in ("mp4", "json")]
    with written_together(folder, names) as aside:
        write_video(aside / names[0], montage, fps)
        write_json(chunks, aside / names[1])


def refuse_other_networks(config: RunConfig, made: dict) -> str | None:
    """Rejects resuming a rollout with other networks than it was started with.

    Args:
        config: the run.
        made: identifies its networks, see `networks_made`.

    Returns:
        A note if the rollout is too old to tell.

    Raises:
        ValueError: other networks; the message says which.
    """
    state_file = Path(config.output) / ROLLOUT
    if not state_file.exists():
        return None
    begun = json.loads(state_file.read_text()).get("made")
    if begun is None:
        return (
            f"{state_file} was written by an earlier version, which did not record the weights; "
            "it is unknown whether they are the same"
        )
    if changed := differences(begun, json.loads(json.dumps(made))):
        raise ValueError(
            f"{config.output} holds a rollout that was started with other networks than those "
            f"now: {'; '.join(changed)}; restore these, or set another output (memory.path= "
            "continues from its memory)"
        )
    return None


def refuse_other_config(config: RunConfig) -> None:
    """Rejects resuming a rollout with another config.

    Raises:
        ValueError: the output folder holds a rollout with another config; lists the keys that
            differ.
    """
    output = Path(config.output)
    if not (output / ROLLOUT).exists():
        return
    begun = load_config(RunConfig, [f"config={output / CONFIG}"])
    # Whether it warns has no effect on the result.
    begun = replace(begun, check=config.check)
    if changed := differences(flat(begun), flat(config)):
        raise ValueError(
            f"{output} holds a rollout that was started with another config: {'; '.join(changed)}; "
            "use the same config, or set another output"
        )


COMMAND = Command(main, RunConfig, DEFAULT, preset=PRESET)

if __name__ == "__main__":
    COMMAND.run()

"""Generates a segment in the background; remembered once it is accepted.

    OUTPUT/segments/NNNN/frames/         the new frames, a recording
    OUTPUT/segments/NNNN/video.mp4       with its start frame
    OUTPUT/segments/NNNN/montage.mp4     next to its anchors
    OUTPUT/segments/NNNN/selection.json  the retrieval report

Until it is accepted the memory is unchanged. The segment is the same as in a rollout with these
cameras and this seed.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from anchorweave.anchors import Retrieved, composite
from anchorweave.clip import Clip
from anchorweave.evaluation.montage import side_by_side
from anchorweave.files import atomic_write, write_json
from anchorweave.geometry.cameras import Cameras
from anchorweave.perception import make_perception
from anchorweave.recordings import open_recording, write_recording
from anchorweave.video import write_video
from anchorweave.world import remember
from inference.explorer.drawing import rest_of
from inference.explorer.jobs import Job
from inference.explorer.networks import Networks
from inference.explorer.places import SEGMENTS
from inference.explorer.session import Session
from inference.explorer.versions import fork_bank, remove_unfinished, version_path
from inference.runs.report import selection

FRAMES, VIDEO, MONTAGE, SELECTION = "frames", "video.mp4", "montage.mp4", "selection.json"
# Fractions of the work: before the first step, and the steps.
BEGUN, STEPS = 0.1, 0.8


def segment_folder(output: Path, number: int) -> Path:
    """The folder of a segment."""
    return output / SEGMENTS / f"{number:04d}"


def segment_clip(output: Path, number: int) -> Clip:
    """The new frames of a segment as they were generated."""
    recording = open_recording(segment_folder(output, number) / FRAMES)
    return recording.clip(range(len(recording)))


def generate(session: Session, networks: Networks, seed: int) -> Job:
    """Starts to generate the first segment of the path.

    Args:
        session: the exploration.
        networks: the networks.
        seed: seed of the noise.

    Raises:
        ValueError: no path, an empty memory, a pending segment, or another running job.
    """
    if seed < 0:
        raise ValueError(f"seed={seed} must be 0 or more")
    with session.lock:
        session.refuse_busy()
        if session.state.pending is not None:
            raise ValueError(
                f"segment {session.state.pending} is pending; accept or revert it first"
            )
        state, memory, config = session.state, session.memory, session.config
        cameras = session.path()[: config.frames]
        first = session.bank.frame(session.start_number)
        before = session.bank.names[session.start_number]
    prompt = prompt_of_segment(session, 0)
    number = len(state.segments)
    sampling = config.sampling
    steps = sampling.steps
    if sampling.start == "anchors":
        steps = max(int(steps * sampling.start_share), 1)

    def work(job: Job) -> None:
        job.told("loading the networks", 0.0)
        networks.get()
        job.told("retrieving from memory", BEGUN / 2)
        retrieved = session.retrieve(memory, cameras).in_unit(state.unit)

        def on_step(done: int) -> None:
            share = min(done / steps, 1.0)
            job.told(f"generating: step {min(done, steps)} of {steps}", BEGUN + STEPS * share)

        job.told(f"generating: step 0 of {steps}", BEGUN)
        video = networks.generator(prompt, on_step)(first, retrieved, seed)
        job.told("writing", BEGUN + STEPS)
        write_segment(session, number, before, video, cameras, retrieved)
        with session.lock:
            session.keep(session.state.generated(prompt, seed, state.drawn))

    return session.work(f"segment {number}", work)


def prompt_of_segment(session: Session, ahead: int) -> str:
    """The prompt of the path's segment at index `ahead`, 0 = first."""
    prompts = session.state.drawn.prompts
    own = prompts[ahead] if ahead < len(prompts) else None
    return session.prompt if own is None else own


def accept(session: Session) -> Job:
    """Starts to remember the pending segment.

    Raises:
        ValueError: no segment is pending, or another job is running.
    """
    with session.lock:
        session.refuse_busy()
        state, memory = session.state, session.memory
        if state.pending is None:
            raise ValueError("no segment is pending; generate one")
        made = state.segments[state.pending]
        rest = rest_of(made.drawn, session.start, session.config.frames, state.unit)

    def work(job: Job) -> None:
        job.told("remembering: saving the current version", 0.1, until=0.3)
        path = version_path(session.output, state, len(state.versions))
        try:
            grown = session.memory_over(fork_bank(memory.bank, path), state.kind)
            job.told("remembering: estimating depth of the new frames", 0.3, until=0.9)
            perception = session.config.perception
            perceive = make_perception(perception.generated, perception)
            remember(grown, perceive, pending_clip(session, made.number))
            job.told("remembering: opening the memory", 0.9)
            with session.lock:
                session.switch(session.state.accept(rest), grown)
        except BaseException:
            remove_unfinished(session.output, state)
            raise

    return session.work("remembering", work)


def pending_clip(session: Session, number: int) -> Clip:
    """The new frames of a segment, in the world of the memory, without depth."""
    clip = segment_clip(session.output, number)
    cameras = clip.cameras.about(session.bank.cameras.origin)
    names = tuple(f"segment {number}, frame {i}" for i in range(1, len(clip) + 1))
    return replace(clip, cameras=cameras, names=names)


def write_segment(
    session: Session,
    number: int,
    before: str,
    video: Tensor,
    cameras: Cameras,
    retrieved: Retrieved,
) -> None:
    """Writes all files of a segment at once.

    Args:
        session: the exploration.
        number: number of the segment.
        before: name of its start frame.
        video: [T, 3, H, W].
        cameras: [T].
        retrieved: its anchors and references.
    """
    folder, config = segment_folder(session.output, number), session.config
    if folder.exists():
        # Left by a run that was killed before its state recorded it.
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    count = len(video) - 1
    names = tuple(f"segment {number}, frame {i}" for i in range(1, count + 1))
    clip = Clip(video[1:], torch.zeros(count, *cameras.size), cameras[1:], names)
    with atomic_write(folder) as aside:
        aside.mkdir()
        write_recording(clip, aside / FRAMES)
        write_video(aside / VIDEO, video, config.fps)
        tiles = {"generated": video}
        if len(retrieved.anchors):
            tiles["composite"] = composite(retrieved.anchors)[0]
        write_video(aside / MONTAGE, side_by_side(tiles), config.fps)
        write_json(selection(retrieved.report, (before, *names)), aside / SELECTION)

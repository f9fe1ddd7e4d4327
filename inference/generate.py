r"""Generate one row of a table on held-out clips, and store its videos for `inference.evaluate`.

    python -m inference.generate                                            # the base row
    python -m inference.generate config=configs/evaluation/rows/no_memory.yaml
    python -m inference.generate config=configs/evaluation/rows/k4.yaml \
        config=configs/evaluation/protocols/rotate_away.yaml
    python -m inference.generate model.path=tiny source=data/example_dataset output=outputs/look

A row defines what generates, a protocol (`inference/evaluation/protocols.py`) the task; the default
is a partial revisit. A second run makes only the missing videos; videos made with another config or
other weights are an error. Writes to `output`/`protocol`/`row`: row.json, config.yaml, a folder per
clip (see `inference/evaluation/cached_row.py`), and montage.mp4 and montage.png of the first clip
to look at.
"""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from anchorweave.anchors import Retrieved, composite
from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import digest
from anchorweave.evaluation.montage import contact_sheet, side_by_side
from anchorweave.file_sets import written_together
from anchorweave.holes import fill_holes
from anchorweave.locks import in_use
from anchorweave.memory import Bank, Memory, open_memory
from anchorweave.models.backbones import codec_of
from anchorweave.perception import make_perception
from anchorweave.pipelines import WeavingMixin
from anchorweave.progress import progress
from anchorweave.recordings import open_recording
from anchorweave.recordings.identity import content_of
from anchorweave.recordings.listing import Missing
from anchorweave.recordings.procedural_rooms.recording import PREFIX
from anchorweave.recordings.search import find_recordings
from anchorweave.video import write_video
from anchorweave.world import World
from inference.evaluation.cached_row import CachedRow, EvaluationTarget
from inference.evaluation.config import EvaluationConfig, noise_seed
from inference.evaluation.held_out import HeldOut, check_path, closed_loop, hold_out
from inference.runs.generator import load_pipeline, make_batch_generator, make_segment_generators
from inference.runs.report import selection
from inference.runs.source import open_source

DEFAULT = "configs/evaluation/anchorweave_tiny.yaml"


def main(words: list[str]) -> None:
    """Generate the missing videos of a row, with `a.b=c` overrides."""
    config = load_config(EvaluationConfig, words, DEFAULT)
    with in_use(config.folder):
        generate_row(config, words)


def generate_row(config: EvaluationConfig, words: Sequence[str]) -> None:
    """Generates the missing videos of a row, with its folder locked.

    Args:
        config: config of the row.
        words: command-line arguments.
    """
    console = Console()
    recordings = find_recordings(config.source)
    if config.rolls_out:
        check_path(config)
    for path in recordings.values():
        if path.split(":")[0] != PREFIX:
            open_source(replace(config, source=path))
    pipe, weights = load_pipeline(config) if config.needs_networks else (None, "no network")
    if pipe is not None:
        # One bar over all clips instead of one per clip.
        pipe.set_progress_bar_config(disable=True)
    row = CachedRow(config.folder)
    command = shlex.join(["python", "-m", "inference.generate", *words])
    notes = row.begin(
        config.made_with(pipe),
        list(recordings),
        config.seeds(),
        command,
        contents_of(recordings, config.missing),
        config,
    )
    for note in notes:
        console.print(f"{row.path} {note}", markup=False, soft_wrap=True)
    missing = [name for name in recordings if _lacks(row, name, config.seeds())]
    console.print(
        f"{row.path}: {len(missing)} of {len(recordings)} clips to do; {weights}", markup=False
    )
    work = _rollouts if config.rolls_out else _held_back_clips
    for _ in progress(work(config, row, pipe, recordings, missing), config.row, len(missing)):
        pass
    _write_montage(row, next(iter(recordings)), config)
    console.print(f"look at {row.path}/montage.png; python -m inference.evaluate measures the row")


def contents_of(recordings: Mapping[str, str], missing: Missing) -> dict[str, str]:
    """Content identifiers of the recordings, by clip; for procedural rooms, their description."""
    return {
        name: digest(place)
        if place.startswith(f"{PREFIX}:")
        else content_of(open_recording(place, missing))
        for name, place in recordings.items()
    }


def _lacks(row: CachedRow, name: str, seeds: Sequence[int]) -> bool:
    return not (row.has_given(name) and all(row.has_sample(name, seed) for seed in seeds))


def _held_back_clips(
    config: EvaluationConfig,
    row: CachedRow,
    pipe: WeavingMixin | None,
    recordings: dict[str, str],
    missing: Sequence[str],
) -> Iterator[str]:
    """Generates `config.batch` clips at a time; yields each name when its clip is complete."""
    for start in range(0, len(missing), config.batch):
        clips, retrieved = [], []
        for name in missing[start : start + config.batch]:
            clip = hold_out(config, name, recordings[name])
            clips.append(clip)
            retrieved.append(_retrieve(config, row, clip))
        for seed in config.seeds():
            wanted = [i for i, clip in enumerate(clips) if not row.has_sample(clip.name, seed)]
            if not wanted:
                continue
            began = time.perf_counter()
            chosen = [clips[i] for i in wanted]
            videos = _videos(config, pipe, chosen, [retrieved[i] for i in wanted], seed)
            seconds = (time.perf_counter() - began) / len(wanted)
            for clip, video in zip(chosen, videos, strict=True):
                row.write_sample(clip.name, seed, video, seconds)
        yield from (clip.name for clip in clips)


def _retrieve(config: EvaluationConfig, row: CachedRow, clip: HeldOut) -> Retrieved:
    """What memory knows of the clip; stores the clip's evaluation target in the row."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        memory = _memory(config, folder)
        memory.update(clip.seen)
        retrieved = memory.retrieve(clip.cameras).in_unit(clip.unit)
    if config.slots is not None:
        retrieved = replace(retrieved, anchors=retrieved.anchors.padded(config.slots))
    seconds = time.perf_counter() - began
    if not row.has_given(clip.name):
        anchors, visible = composite(retrieved.anchors)
        only_memory = clip.only_memory(config.memory.depth_edge)
        target = EvaluationTarget(
            clip.truth.frames, anchors, visible, only_memory, seconds, clip.cameras, clip.unit
        )
        row.write_given(clip.name, target, selection(retrieved.report, clip.truth.names))
    return retrieved


def _memory(config: EvaluationConfig, folder: str) -> Memory:
    bank = Bank(Path(folder) / "memory")
    return open_memory(bank, config.memory, config.retrieval, config.rendering)


def _videos(
    config: EvaluationConfig,
    pipe: WeavingMixin | None,
    clips: Sequence[HeldOut],
    known: Sequence[Retrieved],
    seed: int,
) -> Sequence[Tensor]:
    """One video [T, 3, H, W] in [0, 1] per clip."""
    if config.method == "copy_anchors":
        return [fill_holes(*composite(one.anchors), config.holes) for one in known]
    if config.method == "first_frame":
        return [clip.truth.frames[:1].expand_as(clip.truth.frames) for clip in clips]
    if config.method == "vae":
        return [_through_vae(pipe, clip.truth.frames) for clip in clips]
    generate = make_batch_generator(pipe, config.sampling)
    firsts = [clip.truth.frames[0] for clip in clips]
    prompts = [clip.prompt for clip in clips]
    seeds = [noise_seed(seed, clip.name) for clip in clips]
    return list(generate(firsts, prompts, known, seeds))


@torch.no_grad()
def _through_vae(pipe: WeavingMixin, video: Tensor) -> Tensor:
    codec, device = codec_of(pipe.vae), pipe._execution_device
    return codec.decode(codec.encode(video[None], device), device)[0].float().cpu()


def _rollouts(
    config: EvaluationConfig,
    row: CachedRow,
    pipe: WeavingMixin,
    recordings: dict[str, str],
    missing: Sequence[str],
) -> Iterator[str]:
    """Generates one room after another; yields each name when its clip is complete."""
    for name in missing:
        clip = closed_loop(config, name, recordings[name])
        if not row.has_given(name):
            truth = None if clip.truth is None else clip.truth.frames
            target = EvaluationTarget(truth, None, None, None, 0.0, clip.cameras, clip.unit)
            row.write_given(name, target, [])
        for seed in config.seeds():
            if not row.has_sample(name, seed):
                began = time.perf_counter()
                video, report = _roll_out(config, pipe, clip, noise_seed(seed, name))
                row.write_sample(name, seed, video, time.perf_counter() - began, report)
        yield name


def _roll_out(
    config: EvaluationConfig, pipe: WeavingMixin, clip: HeldOut, seed: int
) -> tuple[Tensor, list]:
    """The whole video of a rollout, including its first frame, and what was retrieved."""
    perceive = make_perception(config.perception.generated, config.perception)
    each = make_segment_generators(pipe, config, clip.prompt)
    frames, names, report = [clip.seen.frames[-1:]], clip.seen.names[-1], []
    with tempfile.TemporaryDirectory() as folder:
        memory = _memory(config, folder)
        memory.update(clip.seen)
        world = World(memory, perceive, each[0], clip.unit)
        for segment in world.rollout(
            clip.seen.frames[-1], clip.cameras, config.frames, seed, each=each
        ):
            frames.append(segment.clip.frames)
            report.append(selection(segment.retrieved.report, (names, *segment.clip.names)))
            names = segment.clip.names[-1]
    return torch.cat(frames), report


def _write_montage(row: CachedRow, name: str, config: EvaluationConfig) -> None:
    target = row.read_given(name)
    videos = {"target": target.truth, "composite": target.anchors}
    tiles = {label: video for label, video in videos.items() if video is not None}
    for seed in config.seeds():
        tiles[f"{config.row}, seed {seed}"] = row.read_sample(name, seed)[0]
    montage = side_by_side(tiles)
    with written_together(row.path, ("montage.mp4", "montage.png")) as aside:
        write_video(aside / "montage.mp4", montage, config.fps)
        contact_sheet(montage).save(aside / "montage.png")


COMMAND = Command(main, EvaluationConfig, DEFAULT)

if __name__ == "__main__":
    COMMAND.run()

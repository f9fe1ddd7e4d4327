"""Hold back a stretch of a posed video, remember the rest, generate the stretch, and measure.

    python -m inference.sample                                   # the embedded example, on a CPU
    python -m inference.sample source=my_recording split=later frames=49
    python -m inference.sample config=configs/cogvideox_5b.yaml source=my_recording

Writes to `output`: generated.mp4; anchors.mp4 and anchors.png, what memory shows of the target;
montage.mp4 and montage.png, all beside the truth; selection.json, metrics.json, config.yaml and the
memory bank.
"""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from anchorweave.anchors import Retrieved, composite
from anchorweave.clip import Clip
from anchorweave.command import Command
from anchorweave.config import RunConfig, load_config
from anchorweave.datasets.splits import split_frames
from anchorweave.evaluation.montage import contact_sheet, side_by_side
from anchorweave.files import written_aside
from anchorweave.perception import make_perception
from anchorweave.video import write_video
from anchorweave.world import World
from inference.generator import load_pipeline, make_generator
from inference.output import begin_memory, open_output
from inference.report import measure, print_report, selection, write_json
from inference.source import open_source, posed, prompt_of, seen_clip, unit_of

DEFAULT = "configs/tiny.yaml"


def main(words: list[str]) -> None:
    """Run the main job with `a.b=c` overrides."""
    config = posed(load_config(RunConfig, words, DEFAULT))
    console = Console()
    began = time.perf_counter()
    recording = open_source(config)
    split = split_frames(len(recording), config.frames, config.split)
    prompt, about_prompt = prompt_of(config, recording)
    console.print(f"source: {config.source} ({len(recording)} frames)\n{about_prompt}")
    # The first target frame is what image-to-video starts from, so it is seen, and seen last.
    # What is wrong with the recording is met here, before networks are loaded.
    seen = seen_clip(config, recording, [*split.history, split.target[0]])
    target = recording.clip(split.target, config.size)
    pipe, weights = load_pipeline(config)
    console.print(weights)
    memory = begin_memory(config)
    output = open_output(config)
    memory.update(seen)
    world = World(
        memory,
        make_perception(config.perception.generated, config.perception),
        make_generator(pipe, config.sampling, prompt),
        unit_of(config, seen),
    )
    video, retrieved = world.imagine(target.frames[0], target.cameras, config.seed)

    metrics = measure(video, target.frames, retrieved.anchors)
    metrics |= {"weights": weights, "seconds": round(time.perf_counter() - began, 1)}
    write_json(metrics, output / "metrics.json")
    write_json(selection(retrieved.report, target.names), output / "selection.json")
    write_pictures(output, video, target, retrieved, config.fps)
    print_report(console, metrics, retrieved.report)
    console.print(f"{weights}\nlook at {output}/montage.png, {output}/montage.mp4")


def write_pictures(output: Path, video, target: Clip, retrieved: Retrieved, fps: int) -> None:
    """The generated video, the anchors, and both beside the truth."""
    anchors = {f"anchor {slot}": one for slot, one in enumerate(retrieved.anchors.video)}
    composed = {"anchors, composite": composite(retrieved.anchors)[0]}
    truth = {"target": target.frames}
    montages = {
        "anchors": side_by_side({**truth, **anchors, **composed}),
        "montage": side_by_side({**truth, "generated": video, **anchors}),
    }
    write_video(output / "generated.mp4", video, fps)
    for name, montage in montages.items():
        write_video(output / f"{name}.mp4", montage, fps)
        with written_aside(output / f"{name}.png") as aside:
            contact_sheet(montage).save(aside)


COMMAND = Command(main, RunConfig, DEFAULT)

if __name__ == "__main__":
    COMMAND.run()

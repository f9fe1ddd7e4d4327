"""Hold back part of a posed video, remember the rest, generate that part, and measure.

    python -m inference.sample                                   # the embedded example, on a CPU
    python -m inference.sample source=my_recording split=later frames=49
    python -m inference.sample config=configs/cogvideox_5b.yaml source=my_recording
    torchrun --nproc-per-node 2 -m inference.sample model.split=guidance   # on two GPUs or CPUs

Writes to `output`: generated.mp4; anchors.mp4 and anchors.png, what memory shows of the target;
montage.mp4 and montage.png, all next to the truth; selection.json, metrics.json, config.yaml and
the memory bank. Small videos are also generated without memory, from the same noise
(`without_memory`): without_memory.mp4, and a column of the montage. All files replace an earlier
run's at once when the run is done; an interrupted run leaves the earlier ones unchanged.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from torch import Tensor

from anchorweave.anchors import References, Retrieved, composite
from anchorweave.clip import Clip
from anchorweave.command import Command
from anchorweave.config import load_config, save_config
from anchorweave.datasets.splits import split_frames
from anchorweave.evaluation.montage import contact_sheet, side_by_side
from anchorweave.file_sets import written_together
from anchorweave.files import write_json
from anchorweave.locks import in_use, refuse_in_use
from anchorweave.memory import Bank
from anchorweave.perception import make_perception
from anchorweave.pipelines import WeavingMixin
from anchorweave.run_config import RunConfig
from anchorweave.video import write_video
from anchorweave.world import World
from inference.runs.generator import load_pipeline, make_generator
from inference.runs.output import MEMORY, bank_path, check_output, memory_over, open_bank
from inference.runs.ranks import together
from inference.runs.report import measure, print_report, selection
from inference.runs.source import open_source, posed, prompt_of, seen_clip, unit_of

DEFAULT = "configs/tiny.yaml"
WRITTEN = (
    *("generated.mp4", "without_memory.mp4", "anchors.mp4", "anchors.png"),
    *("montage.mp4", "montage.png", "selection.json", "metrics.json", "config.yaml"),
)
# Maximum number of pixels of videos that are also generated without memory: 25 frames of 128x192
# have 0.6 million. There it adds 42 s of CPU time to 99 s, about 20 s on two idle cores.
SMALL_VIDEO = 1_000_000


@dataclass(frozen=True)
class SampleConfig(RunConfig):
    """The main job.

    Args:
        without_memory: whether to also generate the clip without memory, from the first frame and
            the prompt alone, so that the montage shows the effect of memory; null = only for videos
            of at most a million pixels, such as 25 frames of 128x192.
    """

    without_memory: bool | None = None

    @property
    def shows_without(self) -> bool:
        """Whether to generate it without memory as well."""
        if self.without_memory is not None:
            return self.without_memory
        return self.frames * self.size[0] * self.size[1] <= SMALL_VIDEO


def main(words: list[str]) -> None:
    """Run the main job with `a.b=c` overrides."""
    with together(load_config(SampleConfig, words, DEFAULT)) as config:
        sample(config)


def sample(config: SampleConfig) -> None:
    """Run the main job."""
    # Checked before anything is computed; both are locked once there is something to write.
    refuse_in_use(config.output)
    refuse_in_use(bank_path(config))
    config = posed(config)
    console = Console()
    began = time.perf_counter()
    recording = open_source(config)
    split = split_frames(len(recording), config.frames, config.split)
    prompt, about_prompt = prompt_of(config, recording, frames=split.target)
    console.print(f"source: {config.source} ({len(recording)} frames)\n{about_prompt}")
    check_output(config)
    # Image-to-video starts from the first target frame, so it is remembered, as the last one.
    # Problems with the recording surface here, before networks are loaded.
    seen = seen_clip(config, recording, [*split.history, split.target[0]])
    target = recording.clip(split.target, config.size)
    pipe, weights = load_pipeline(config)
    console.print(weights)
    own_bank = (MEMORY,) if config.memory.path is None else ()
    with ExitStack() as held:
        aside = held.enter_context(written_together(config.output, (*WRITTEN, *own_bank)))
        if not own_bank:
            held.enter_context(in_use(bank_path(config)))
        bank = Bank(aside / MEMORY) if own_bank else open_bank(config)
        memory = memory_over(config, bank)
        memory.update(seen)
        world = World(
            memory,
            make_perception(config.perception.generated, config.perception),
            make_generator(pipe, config.sampling, prompt),
            unit_of(config, seen),
        )
        video, retrieved = world.imagine(target.frames[0], target.cameras, config.seed)
        videos = {"generated": video}
        if config.shows_without:
            videos |= _without_memory(config, pipe, prompt, target, retrieved, console)
        metrics = measure(videos, target.frames, retrieved.anchors)
        metrics |= {"weights": weights, "seconds": round(time.perf_counter() - began, 1)}
        write_json(metrics, aside / "metrics.json")
        write_json(selection(retrieved.report, target.names), aside / "selection.json")
        save_config(config, aside / "config.yaml")
        write_pictures(aside, videos, target, retrieved, config.fps)
        # Files that a user added to the old bank in the meantime must not be deleted with it.
        check_output(config)
    print_report(console, metrics, retrieved.report)
    output = config.output
    console.print(f"{weights}\nlook at {output}/montage.png, {output}/montage.mp4")


def _without_memory(
    config: SampleConfig,
    pipe: WeavingMixin,
    prompt: str,
    target: Clip,
    retrieved: Retrieved,
    console: Console,
) -> dict[str, Tensor]:
    """The video from the same noise with only the first frame and the prompt, by its name."""
    began = time.perf_counter()
    alone = replace(config.sampling, control_weight=0.0, camera_weight=0.0, start="noise")
    none = retrieved.references
    nothing = replace(
        retrieved,
        anchors=retrieved.anchors[:0],
        preceding=None,
        references=References(none.frames[:0], none.cameras[:0], none.reference2first[:0]),
    )
    video = make_generator(pipe, alone, prompt)(target.frames[0], nothing, config.seed)
    took = time.perf_counter() - began
    console.print(
        f"also generated without memory, for comparison: {took:.0f} s "
        "(disable with without_memory=false)"
    )
    return {"without_memory": video}


def write_pictures(
    output: Path, videos: dict[str, Tensor], target: Clip, retrieved: Retrieved, fps: int
) -> None:
    """Writes the generated videos, the anchors, and both next to the truth."""
    anchors = {f"anchor {slot}": one for slot, one in enumerate(retrieved.anchors.video)}
    composed = {"composite": composite(retrieved.anchors)[0]}
    truth = {"target": target.frames}
    generated = {name.replace("_", " "): video for name, video in videos.items()}
    montages = {
        "anchors": side_by_side({**truth, **anchors, **composed}),
        "montage": side_by_side({**truth, **generated, **anchors}),
    }
    for name, video in videos.items():
        write_video(output / f"{name}.mp4", video, fps)
    for name, montage in montages.items():
        write_video(output / f"{name}.mp4", montage, fps)
        contact_sheet(montage).save(output / f"{name}.png")


COMMAND = Command(main, SampleConfig, DEFAULT)

if __name__ == "__main__":
    COMMAND.run()

"""What one sampling run would need: weights, memory by option, its peaks, seconds per video.

    python -m inference.dry_run config=configs/cogvideox_5b.yaml
    python -m inference.dry_run config=configs/wan22_5b.yaml model.offload=group
    python -m inference.dry_run                              # the embedded example's

Takes every option of `inference.sample`, whose options they are. Needs neither weights nor a GPU:
the networks run on torch's meta device, which knows shapes and holds no numbers, while the bytes of
their tensors are counted. `report=FILE.json` writes all numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from rich.console import Console
from rich.table import Table

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.files import write_json
from anchorweave.memory import MEMORIES
from anchorweave.models.backbones import codec_of
from anchorweave.models.estimates.cards import GIB, GPUS, PROCESS, fits
from anchorweave.pipelines import pipeline_of
from anchorweave.ranges import check_numbers, within
from anchorweave.run_config import ModelConfig, RunConfig, SamplingConfig
from inference.estimates.autoencoder import decoding, encoding
from inference.estimates.networks import Networks, bytes_of, networks_of
from inference.estimates.residence import largest_layer, weights_there
from inference.estimates.stages import Taken, Video, denoising, reading_text

DEFAULT = "configs/tiny.yaml"
CHOICES = get_type_hints(ModelConfig)
OFFLOADS, STORAGES = (get_args(CHOICES[name]) for name in ("offload", "storage"))
# Stage -> the part that computes in it.
STAGES = {
    "reading the prompt": "text_encoder",
    "encoding anchors": "vae",
    "denoising": "transformer",
    "decoding": "vae",
}


@dataclass(frozen=True)
class SamplingDryRunConfig(RunConfig):
    """A sampling run, and the machine that it is told for.

    Args:
        visible: share of the anchors' tokens that a pixel supports; below 1 for a saved controller
            of `tokens=visible` alone, in which only those attend.
        peak_tflops: of one GPU, dense bfloat16 (H100, H200: 989; A100: 312).
        utilisation: share of that peak which is reached. 0.38 was measured of the 5B's forward
            pass on an H200, with and without the controller; the autoencoder was not measured.
        report: a file that the complete report is written to, as JSON; null = none.
    """

    visible: float = within(1.0, at_least=0, at_most=1)
    peak_tflops: float = within(989.0, above=0)
    utilisation: float = within(0.38, above=0, at_most=1)
    report: str | None = None

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self)


def describe(config: SamplingDryRunConfig) -> dict[str, Any]:
    """Everything that a dry run tells; bytes in GiB."""
    networks = networks_of(config)
    family, parts = networks.family, networks.parts
    sizes = family.sizes(parts["transformer"])
    codec = codec_of(parts["vae"])
    latents = codec.shape(config.frames, config.size, sizes.patch_size)
    memory = MEMORIES[config.memory.kind]
    anchors, references = memory.gives_at_most(config.memory, config.retrieval)
    preceding = memory.preceding_frames(config.memory)
    video = Video(config.frames, config.size, latents, anchors, references, preceding)
    one_call = pipeline_of(family.name)._guidance_in_one_call
    guided = config.sampling.guidance > 1
    share = config.visible
    if share < 1 and parts["controller"].config.tokens != "visible":
        raise ValueError(
            f"visible={share} changes nothing: in this run's controller all tokens of the anchors "
            "attend; name a saved one of tokens=visible in model.controller, or leave visible out"
        )
    steps = _steps(networks, video, config, share, one_call)
    text = reading_text(networks, sizes.text_tokens)
    coded = {
        tiled: (encoding(networks, video, tiled), decoding(networks, video, tiled))
        for tiled in (False, True)
    }
    kind = "guided" if guided else "unguided"
    step = steps[kind, share]
    stored = {storage: networks.stored_in(storage) for storage in STORAGES}
    rows = [
        _row(stored[storage], config, offload, storage, tiled, text, coded, step)
        for storage in STORAGES
        for offload in OFFLOADS
        for tiled in (True, False)
    ]
    halves = 2 if guided and not one_call and config.model.split == "none" else 1
    tokens = math.prod(latents) // sizes.patch_size**2
    return {
        "networks": {
            name: {
                "parameters": sum(one.numel() for one in part.parameters()),
                "gib": bytes_of(part) / GIB,
            }
            for name, part in parts.items()
        },
        "networks_from": networks.source,
        "tokens": {
            "backbone": tokens,
            "anchors": anchors * tokens,
            "attend": round(share * anchors * tokens),
        },
        "steps": [
            {
                "guidance": kind,
                "visible": share,
                "gib": one.held / GIB,
                "tflops": one.operations / 1e12,
            }
            for (kind, share), one in steps.items()
            if share is not None
        ],
        "memory_gib": rows,
        "seconds": _seconds(config, text, coded, anchors, (step, steps[kind, None]), halves),
        "utilisation": config.utilisation,
    }


def _steps(
    networks: Networks, video: Video, config: SamplingDryRunConfig, visible: float, one_call: bool
) -> dict[tuple[str, float | None], Taken]:
    """One call of the networks by (guidance, visible share); a share of None is without anchors."""
    fused = config.model.attention_backend != "math"
    # Halves that come one after the other, or on two ranks, are no larger than one alone.
    halves = 2 if one_call and config.model.split == "none" else 1
    asked = config.sampling.guidance > 1
    found: dict[tuple[str, float | None], Taken] = {}
    made: dict[tuple[int, float | None], Taken] = {}
    for kind, batch in (("guided", halves), ("unguided", 1)):
        alone = (None,) if asked == (kind == "guided") else ()
        for share in dict.fromkeys((1.0, visible, *alone)):
            if (batch, share) not in made:
                made[batch, share] = denoising(
                    networks,
                    video,
                    batch,
                    share,
                    control_every=config.sampling.control_every,
                    fused=fused,
                )
            found[kind, share] = made[batch, share]
    return found


def _row(
    networks: Networks,
    config: SamplingDryRunConfig,
    offload: str,
    storage: str,
    tiled: bool,
    text: Taken,
    coded: Mapping[bool, tuple[Taken, Taken]],
    step: Taken,
) -> dict[str, Any]:
    """Memory of one choice of options: of each stage, and its height."""
    encoded, decoded = coded[tiled]
    cast = 0
    if storage != "dtype":
        cast = largest_layer(networks.parts["transformer"]) * networks.dtype.itemsize
    held = (text.held, encoded.held, step.held + cast, decoded.held)
    stages = {
        stage: (weights_there(networks, part, offload) + beside + PROCESS) / GIB
        for (stage, part), beside in zip(STAGES.items(), held, strict=True)
    }
    peak = max(stages, key=stages.__getitem__)
    model = config.model
    return {
        "offload": offload,
        "storage": storage,
        "tile_vae": tiled,
        "total": stages[peak],
        "peaks": peak,
        "stages": stages,
        "fits": fits(stages[peak] * GIB),
        "asked": (offload, storage, tiled) == (model.offload, model.storage, model.tile_vae),
    }


def _seconds(
    config: SamplingDryRunConfig,
    text: Taken,
    coded: Mapping[bool, tuple[Taken, Taken]],
    anchors: int,
    calls: tuple[Taken, Taken],
    halves: int,
) -> dict[str, float]:
    """Of one video, by stage, at the stated utilisation; `calls` with anchors, and without."""
    sampling: SamplingConfig = config.sampling
    count, (opens, closes) = sampling.steps, sampling.control_window
    if sampling.start == "anchors":
        count = max(round(sampling.start_share * count), 1)
    woven = sum(opens <= i / count <= closes for i in range(count))
    if not (sampling.control_weight or sampling.camera_weight):
        woven = 0
    woven = math.ceil(woven / sampling.control_every)
    with_anchors, alone = (one.operations for one in calls)
    encoded, decoded = coded[config.model.tile_vae]
    operations = {
        "reading the prompt": (1 + (sampling.guidance > 1)) * text.operations,
        "encoding anchors": anchors * encoded.operations,
        "denoising": halves * (woven * with_anchors + (count - woven) * alone),
        "decoding": decoded.operations,
    }
    rate = config.peak_tflops * 1e12 * config.utilisation
    seconds = {stage: one / rate for stage, one in operations.items()}
    return {**seconds, "video": sum(seconds.values())}


def _show(report: Mapping[str, Any], console: Console) -> None:
    facts = Table(title="The run", show_header=False)
    for name, one in report["networks"].items():
        facts.add_row(name, f"{one['parameters'] / 1e6:,.2f} M parameters, {one['gib']:,.2f} GiB")
    tokens, seconds = report["tokens"], report["seconds"]
    facts.add_row("sizes from", report["networks_from"])
    facts.add_row(
        "tokens",
        f"{tokens['backbone']:,} of the video; {tokens['anchors']:,} of anchors, "
        f"{tokens['attend']:,} of them attend",
    )
    for step in report["steps"]:
        facts.add_row(
            f"a call, {step['guidance']}, {step['visible']:.0%} visible",
            f"{step['gib']:,.2f} GiB beside the weights, {step['tflops']:,.4g} TFLOPs",
        )
    parts = ", ".join(f"{name} {one:,.3g}" for name, one in seconds.items() if name != "video")
    facts.add_row(
        "seconds per video",
        f"{seconds['video']:,.3g} at {report['utilisation']:.0%} of the GPU's peak ({parts})",
    )
    console.print(facts)
    table = Table(title="Estimated GiB on the GPU (> is what is asked for)")
    columns = ("", "offload", "storage", "tile_vae", "GiB", "peaks in")
    for column in (*columns, *(f"{name} GB" for name in GPUS)):
        table.add_column(column, justify="right")
    for row in report["memory_gib"]:
        table.add_row(
            ">" if row["asked"] else "",
            row["offload"],
            row["storage"],
            str(row["tile_vae"]).lower(),
            f"{row['total']:,.1f}",
            row["peaks"],
            *("fits" if name in row["fits"] else "-" for name in GPUS),
        )
    console.print(table)


def main(words: Sequence[str]) -> None:
    """Dry run of the config that `a.b=c` overrides make."""
    config = load_config(SamplingDryRunConfig, words, DEFAULT)
    report = describe(config)
    _show(report, Console())
    if config.report is not None:
        Path(config.report).parent.mkdir(parents=True, exist_ok=True)
        write_json(report, config.report)


COMMAND = Command(main, SamplingDryRunConfig, DEFAULT)

if __name__ == "__main__":
    COMMAND.run()

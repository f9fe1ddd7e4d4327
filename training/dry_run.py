"""Describes a run without starting it: parameters, operations, memory, checkpoints, missing files.

    python -m training.dry_run config=configs/train/cogvideox_5b.yaml
    python -m training.dry_run                       # the default config
    python -m training.dry_run config=configs/train/cogvideox_5b.yaml gpus=16 visible=0.45
    python -m training.dry_run report=outputs/dry_run.json      # all numbers as JSON

Needs neither weights nor a GPU: the networks are built on torch's meta device, which has shapes but
no data. `python -m training.train ... --dry-run` is the same.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.files import write_json
from anchorweave.memory import GlobalCloudConfig
from anchorweave.models.backbones import Family
from anchorweave.models.checkpointing import Kept
from anchorweave.models.controller import WeavingController
from anchorweave.models.denoiser import check_preceding
from anchorweave.models.estimates.cards import GIB, GPUS, fits
from anchorweave.models.estimates.published import FIRST, own_settings
from anchorweave.models.references.reference_networks import REFERENCE_NETWORKS, ReferenceNetwork
from anchorweave.ranges import check_numbers, within
from training.estimates.memory import Weights, checkpoint_bytes, memory
from training.estimates.missing import missing_files
from training.estimates.operations import Step, training_step
from training.estimates.references import with_references
from training.estimates.run_shapes import (
    ClipShape,
    backbone_config,
    clip_shape,
    given_at_most,
)
from training.networks.build import add_lora
from training.networks.new import (
    START,
    TRAINED_WITH,
    new_controller,
    reference_network,
    refuse_contradiction,
)
from training.options.networks import NetworkConfig
from training.options.training import TrainConfig

# The config of `training.train` if none is named.
DEFAULT = "configs/train/tiny.yaml"
STRATEGIES = ("ddp", "zero2", "fsdp2")
# Gradient checkpointing, and what it stores instead of recomputing.
CHECKPOINTING: tuple[tuple[bool, Kept], ...] = (
    (False, "nothing"),
    (True, "nothing"),
    (True, "attention_of_controller"),
    (True, "attention"),
)


@dataclass(frozen=True)
class DryRunConfig(TrainConfig):
    """A run, and the machine to estimate it for.

    Args:
        gpus: number of GPUs; null = as many as the batch of a step can use.
        peak_tflops: of one GPU, dense bfloat16 (H100, H200: 989; A100: 312).
        utilisation: fraction of that peak reached by forward and backward passes; recomputation is
            not counted. 0.25 was measured with the 5B on an H200, with recomputation.
        visible: fraction of the anchors' tokens that are visible, if only those attend.
        references: reference frames per sample; null = as in the first clip, or without clips, the
            maximum of the memory system.
        preceding: frames before the target, 4k + 1 or 0; null = as in the first clip.
        report: a file that the complete report is written to, as JSON; null = none.
    """

    gpus: int | None = within(None, at_least=1)
    peak_tflops: float = within(989.0, above=0)
    utilisation: float = within(0.25, above=0, at_most=1)
    visible: float = within(1.0, at_least=0, at_most=1)
    references: int | None = within(None, at_least=0)
    preceding: int | None = within(None, at_least=0)
    report: str | None = None

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self)
        if self.references is not None and not self.model.has_references:
            raise ValueError(
                f"references={self.references} is of a network that is given references, and there "
                "is none; set model.new_references=tokens or attention, or leave references out"
            )
        # Same check as for memory systems.
        GlobalCloudConfig(preceding=self.preceding or 0)
        if self.preceding and not self.model.has_references:
            raise ValueError(
                f"preceding={self.preceding} frames are joined to the video by a network, and "
                "there is none; set model.new_references=tokens, or leave preceding out"
            )


def dry_run(config: DryRunConfig) -> None:
    """Prints a description of a run of `config`; if several ranks were launched, only the first."""
    if int(os.environ.get("RANK", 0)):
        return
    report = describe(config, config.gpus)
    _show(report, config, Console())
    if config.report is not None:
        Path(config.report).parent.mkdir(parents=True, exist_ok=True)
        write_json(report, config.report)


def describe(config: TrainConfig, world: int | None = None) -> dict[str, Any]:
    """The complete report of a dry run.

    Args:
        config: options of the run.
        world: number of GPUs; None = as many as the batch of a step can use.
    """
    clips = clip_shape(config)
    family, backbone, source = backbone_config(config.model, clips)
    world = world or max(1, config.batch // config.batch_per_process)
    return {
        **estimate(config, backbone, clips, world, family),
        "backbone_from": source,
        "clips_from": clips.source,
        "missing": missing_files(config),
    }


def estimate(
    config: TrainConfig,
    backbone: Mapping[str, Any],
    clips: ClipShape,
    world: int,
    family: Family = FIRST,
) -> dict[str, Any]:
    """Estimates for a run, from shapes alone.

    Args:
        config: options of the run.
        backbone: configuration of its transformer.
        clips: shapes of its training clips.
        world: number of GPUs.
        family: family of the backbone.
    """
    network = config.model
    machine = config if isinstance(config, DryRunConfig) else DryRunConfig()
    with torch.device("meta"):
        transformer = family.parts["transformer"].from_config(dict(backbone))
        transformer.requires_grad_(False)
        controller = _controller(network, transformer)
        references = _references(network, transformer)
        if network.train_backbone == "lora":
            add_lora(transformer, network.lora_rank, network.lora_alpha)
    if network.train_backbone == "full":
        transformer.requires_grad_(True)
    counts = {"backbone": _count(transformer), "controller": 0, "references": 0}
    trained = _count(transformer, trained=True)
    if controller is not None:
        counts["controller"] = _count(controller)
        trained += network.train_controller * counts["controller"]
    if references is not None:
        counts["references"] = _count(references)
        trained += network.train_references * counts["references"]
    weights = Weights(sum(counts.values()) - trained, trained)
    sizes = family.sizes(transformer)
    ahead = clips.preceding
    if machine.preceding is not None:
        ahead = -(-machine.preceding // sizes.temporal_compression)
    check_preceding(references, ahead > 0)
    # Ignored without a network, like references.
    ahead *= references is not None
    step = training_step(
        sizes,
        None if controller is None else controller.config,
        batch=config.batch_per_process,
        anchors=clips.anchors,
        latent_size=clips.latent_size,
        text_tokens=clips.text_tokens,
        train_backbone=network.train_backbone == "full",
        train_controller=network.train_controller,
        visible=machine.visible,
        adapted=network.train_backbone == "lora",
        preceding=ahead,
    )
    R = 0
    if references is not None:
        asked = (machine.references, clips.references, given_at_most(config)[1])
        R = next(number for number in asked if number is not None)
        step = with_references(
            step,
            sizes,
            references,
            count=R,
            batch=config.batch_per_process,
            latent_size=clips.latent_size,
            trained=network.train_references,
            preceding=ahead,
        )
    per_frame = math.prod(clips.latent_size[1:]) // sizes.patch_size**2
    samples = config.batch / config.batch_per_process
    recomputed = step.recomputed(network.kept) if network.gradient_checkpointing else 0
    peak = world * machine.peak_tflops * 1e12 * machine.utilisation
    checkpoint = checkpoint_bytes(trained, config.average.enabled) / GIB
    return {
        "parameters": {**counts, "trained": trained},
        "tokens": {
            "backbone": step.backbone.tokens,
            "controller": step.controller.tokens,
            "controller_rows": step.controller.rows // config.batch_per_process,
            "references": R * per_frame,
            "preceding": ahead * per_frame,
        },
        "tflops_per_step": {
            "forward": samples * step.forward / 1e12,
            "backward": samples * step.backward / 1e12,
            "recomputed": samples * recomputed / 1e12,
        },
        "gpus": world,
        "memory_gib": _memory_rows(step, weights, world, config),
        "steps": config.steps,
        "clips": clips.count,
        "epochs": clips.count and config.steps * config.batch / clips.count,
        "seconds_per_step": samples * (step.forward + step.backward) / peak,
        "utilisation": machine.utilisation,
        "checkpoint_gib": checkpoint,
        # The newest, the best, and the next one while it is written.
        "checkpoints_gib": checkpoint * (config.checkpoints.keep + 2),
    }


def _controller(network: NetworkConfig, backbone: nn.Module) -> WeavingController | None:
    if not network.woven:
        return None
    saved = Path(network.controller or "", "config.json")
    if network.controller is not None and saved.is_file():
        stated = own_settings(json.loads(saved.read_text()))
        controller = WeavingController(**stated)
        refuse_contradiction(network, TRAINED_WITH, controller.config, "controller")
        return controller
    return new_controller(network, backbone, source=START[network.new_controller])


def _references(network: NetworkConfig, backbone: nn.Module) -> ReferenceNetwork | None:
    if network.references is None:
        return reference_network(network, backbone)
    saved = Path(network.references, "config.json")
    # If there is none, `missing_files` reports it.
    if not saved.is_file():
        return None
    notes = json.loads(saved.read_text())
    kinds = {kind.__name__: kind for kind in REFERENCE_NETWORKS.values()}
    return kinds[notes["_class_name"]](**own_settings(notes))


def _count(module: nn.Module, trained: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


def _memory_rows(
    step: Step, weights: Weights, world: int, config: TrainConfig
) -> list[dict[str, Any]]:
    rows = []
    for strategy in STRATEGIES:
        for checkpointing, kept in CHECKPOINTING:
            parts = memory(
                step,
                weights,
                strategy,
                world,
                checkpointing,
                "fp32" if config.precision == "fp32" else "bf16",
                config.average.enabled,
                kept,
            )
            total = sum(parts.values())
            rows.append(
                {
                    "strategy": strategy,
                    "gradient_checkpointing": checkpointing,
                    "kept": kept,
                    "total": total / GIB,
                    "parts": {name: size / GIB for name, size in parts.items()},
                    "fits": fits(total),
                }
            )
    return rows


def _show(report: Mapping[str, Any], config: DryRunConfig, console: Console) -> None:
    parameters, tokens = report["parameters"], report["tokens"]
    tflops, epochs = report["tflops_per_step"], report["epochs"]
    facts = Table(title="The run", show_header=False)
    for what, value in {
        "backbone": f"{parameters['backbone'] / 1e6:,.2f} M parameters; {report['backbone_from']}",
        "controller": f"{parameters['controller'] / 1e6:,.2f} M parameters",
        "references": f"{parameters['references'] / 1e6:,.2f} M parameters",
        "trained": f"{parameters['trained'] / 1e6:,.2f} M parameters",
        "clips": f"{report['clips'] or 'unknown number'} an epoch; shape of {report['clips_from']}",
        "tokens": f"{tokens['backbone']:,} in the backbone, {tokens['controller_rows']} x "
        f"{tokens['controller']:,} in the controller"
        + (f", {tokens['references']:,} of references" if tokens["references"] else "")
        + (f", {tokens['preceding']:,} of preceding frames" if tokens["preceding"] else ""),
        "TFLOPs per step": f"{sum(tflops.values()):,.4g} over all GPUs ("
        + ", ".join(f"{value:,.4g} {name}" for name, value in tflops.items())
        + ")",
        "steps": f"{report['steps']:,}" + (f" = {epochs:,.2f} epochs" if epochs else ""),
        "seconds per step": f"{report['seconds_per_step']:,.3g} on {report['gpus']} GPU(s) at "
        f"{report['utilisation']:.0%} of their peak",
        "checkpoint": f"{report['checkpoint_gib']:,.2f} GiB; all that may lie there at once: "
        f"{report['checkpoints_gib']:,.2f} GiB",
    }.items():
        facts.add_row(what, value)
    console.print(facts)
    table = Table(title=f"Estimated GiB on each of {report['gpus']} GPU(s)")
    for column in ("strategy", "checkpointing", "GiB", *(f"{name} GB" for name in GPUS)):
        table.add_column(column, justify="right")
    for row in report["memory_gib"]:
        fits = ["fits" if name in row["fits"] else "-" for name in GPUS]
        recompute = "no"
        if row["gradient_checkpointing"]:
            recompute = f"yes, kept: {row['kept']}"
        table.add_row(row["strategy"], recompute, f"{row['total']:,.1f}", *fits)
    console.print(table)
    told = (
        f"Estimated for gpus={report['gpus']}, peak_tflops={config.peak_tflops:g}, "
        f"utilisation={config.utilisation:g}, visible={config.visible:g}; these are options, also "
        "of --dry-run, as are references, preceding and report=FILE.json, which writes all of it."
    )
    console.print(told, markup=False, highlight=False)
    console.print("Missing: " + ("nothing" if not report["missing"] else ""))
    for line in report["missing"]:
        console.print(f"  {line}", markup=False, highlight=False)


def main(words: Sequence[str]) -> None:
    """Dry run of a config, with `a.b=c` overrides."""
    dry_run(load_config(DryRunConfig, words, DEFAULT))


COMMAND = Command(main, DryRunConfig, DEFAULT)

if __name__ == "__main__":
    COMMAND.run()

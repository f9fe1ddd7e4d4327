"""Assembles a training run from its config."""

from __future__ import annotations

import json
import platform
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from jaxtyping import Float
from torch import Tensor

from anchorweave.config import load_config, save_config
from anchorweave.datasets.fingerprint import differences, flat
from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.mixture import Mixture, open_mixture
from anchorweave.files import atomic_write
from anchorweave.models.backbones import codec_of
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.ema import running_average
from anchorweave.models.encoders import Encoders
from anchorweave.models.families import FAMILIES
from anchorweave.models.schedules import learning_rate_factor
from anchorweave.models.small.tiny_models import TINY, video_of
from anchorweave.models.video_shape import other_size
from anchorweave.renamed_options import RenamedOptionError
from training.engine.bad_clips import BadClips
from training.engine.batches import DrawnClips, Place
from training.engine.checkpoints import CONFIG, Checkpoints, damage
from training.engine.clip_list import changed_clips, keep_clips
from training.engine.guards import GradientGuard
from training.engine.run import Run
from training.engine.sharding import assert_blocks_sharded, shard_blocks
from training.engine.strategy import assert_as_launched
from training.engine.tracking import start_trackers
from training.networks.build import Networks, build_networks, check_holes, trained
from training.networks.encoded_by import check_encoded_by
from training.options.training import TrainConfig


def prepare_run(config: TrainConfig, accelerator: Accelerator) -> Run:
    """Loads and wraps everything and, if requested, resumes from a checkpoint.

    Raises:
        ValueError: anything inconsistent, before the first step.
        FileNotFoundError: no model, or no checkpoint.
    """
    output = Path(config.output)
    checkpoints = Checkpoints(output / "checkpoints", config.checkpoints.keep, accelerator)
    start = _where_to_start(config, checkpoints)
    data = config.data
    clips = open_mixture(data.shares(), config.memory, data.visible_first_frame)
    _print_data(accelerator, clips)
    networks = build_networks(config, clips[0], accelerator.device)
    check_holes(networks.denoiser.controller, clips.holes())
    t, _, h, w = clips[0].latents.shape
    _tell_other_size(accelerator, config.model.path, networks.denoiser, (t, h, w))
    path = config.model.path
    encoders = Encoders(path, *video_of(path, (t, h, w)), whole=False)
    check_encoded_by(clips, encoders, accelerator.print)
    drawn = DrawnClips(
        clips,
        config.draw,
        networks.process,
        config.seed,
        _empty_prompt(clips) if config.draw.caption_dropout else None,
        _black(networks, clips, accelerator.device)
        if config.draw.anchors.hidden == "black" and config.model.woven
        else None,
    )
    # In this process and before any wrapping, so that options no clip satisfies fail here.
    drawn.drawn(clips[0], Place(step=0, place=0, clip=0))

    settings = config.optimizer
    optimizer = torch.optim.AdamW(
        trained(networks.denoiser).values(),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        eps=settings.epsilon,
        # A fused kernel over all weights: a quarter of the time.
        fused=True,
    )
    if (plugin := getattr(accelerator.state, "fsdp_plugin", None)) is not None:
        shard_blocks(plugin, networks.denoiser)
    with warnings.catch_warnings():
        # Its new name does not exist in the oldest supported torch.
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
        model, optimizer = accelerator.prepare(networks.denoiser, optimizer)
    plain = accelerator.unwrap_model(model)
    if plugin is not None:
        assert_blocks_sharded(plain)
    parameters = trained(plain)
    device = accelerator.device
    positions = networks.positions
    networks = Networks(
        plain,
        networks.process.to(device),
        None if positions is None else tuple(part.to(device) for part in positions),
        networks.dtype,
        networks.parts,
    )
    run = Run(
        config=config,
        accelerator=accelerator,
        networks=networks,
        model=model,
        parameters=parameters,
        optimizer=optimizer,
        factor=learning_rate_factor(
            settings.schedule, settings.warmup, config.steps, settings.cycles
        ),
        average=(
            running_average(parameters.values(), config.average.decay)
            if config.average.enabled
            else None
        ),
        guard=GradientGuard(config.guard),
        clips=drawn,
        bad_clips=BadClips(data, len(clips), output),
        checkpoints=checkpoints,
    )
    accelerator.print(assert_as_launched(config, accelerator, model))
    if start is not None:
        run.restore(start)
        _print_changes(accelerator, config, start)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process and start.parent.resolve() == checkpoints.folder.resolve():
            print(*checkpoints.set_aside_after(start), sep="\n", flush=True)
    if accelerator.is_main_process:
        output.mkdir(parents=True, exist_ok=True)
        save_config(config, output / CONFIG)
        _write_origin(output)
        if start is not None:
            for line in changed_clips(output, clips):
                print(line, flush=True)
        keep_clips(output, clips)
    start_trackers(config, accelerator, run.step)
    return run


def _where_to_start(config: TrainConfig, checkpoints: Checkpoints) -> Path | None:
    if config.resume == "never":
        if existing := checkpoints.all():
            raise ValueError(
                f"resume=never, but {existing[-1]} exists; set resume=latest to resume it, or "
                "another output"
            )
        return None
    if config.resume != "latest":
        path = Path(config.resume)
        if not path.is_dir():
            raise FileNotFoundError(f"resume={config.resume}: no such checkpoint")
        if problem := damage(path):
            raise ValueError(f"resume={config.resume}: the checkpoint is damaged ({problem})")
        return path
    # Only the first rank looks, so that all start from the same one.
    result: list = [None]
    if checkpoints.accelerator.is_main_process:
        try:
            path, passed_over = checkpoints.newest()
            print(*passed_over, sep="\n", end="\n" if passed_over else "", flush=True)
            result = [path]
        except ValueError as error:
            result = [error]
    broadcast_object_list(result)
    if isinstance(result[0], ValueError):
        raise result[0]
    return result[0]


def _print_data(accelerator: Accelerator, clips: Mixture) -> None:
    accelerator.print(*clips.describe(), sep="\n")
    for root, clip_set in clips.sets.items():
        for name, reason in clip_set.quarantined.items():
            accelerator.print(f"{root}: {name} is in quarantine ({reason})")


def _tell_other_size(
    accelerator: Accelerator, path: str, denoiser: Denoiser, latents: tuple[int, int, int]
) -> None:
    """Warns if the backbone was trained at another size than that of latents (t, h, w)."""
    form, sizes = FAMILIES[denoiser.family.name].form, denoiser.family.sizes(denoiser.backbone)
    scale = TINY[path].in_space if path in TINY else form.size_step // sizes.patch_size
    own, actual = (
        tuple(scale * side for side in size) for size in (sizes.latent_size, latents[1:])
    )
    if about := other_size(own, actual):
        accelerator.print(f"warning: {about}, until training has adapted them to this one")


def _empty_prompt(clips: Mixture) -> Float[Tensor, "S D"]:
    for clip_set in clips.sets.values():
        if isinstance(clip_set, LatentClips):
            return clip_set.empty_prompt()
    raise ValueError(
        "draw.caption_dropout needs the features of the empty prompt, which the released layout "
        "lacks; set draw.caption_dropout=0"
    )


def _black(networks: Networks, clips: Mixture, device: torch.device) -> Float[Tensor, "t C h w"]:
    codec = codec_of(networks.parts.vae(networks.dtype).to(device))
    T = len(clips[0].target2first)
    H, W = (codec.in_space * side for side in clips[0].latents.shape[-2:])
    with torch.no_grad():
        return codec.encode(torch.zeros(1, T, 3, H, W))[0].float().cpu()


def _print_changes(accelerator: Accelerator, config: TrainConfig, start: Path) -> None:
    accelerator.print(f"resuming from {start}")
    try:
        before = flat(load_config(TrainConfig, (), str(start / CONFIG)))
    except RenamedOptionError:
        accelerator.print("  its options have names of an earlier version and were not compared")
        return
    for change in differences(before, flat(config)):
        if not change.startswith(("output:", "resume:")):
            accelerator.print(f"  changed since: {change.replace(' there', ' then')}")


def _write_origin(output: Path) -> None:
    packages = ("torch", "diffusers", "transformers", "accelerate", "peft")
    origin = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }
    with atomic_write(output / "origin.json") as aside:
        aside.write_text(json.dumps(origin, indent=1) + "\n")

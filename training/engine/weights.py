"""Trained weights and their optimiser state as full tensors by name, for any strategy.

With one process, DDP or DeepSpeed stage 2, every rank holds full tensors; with FSDP2 each holds a
shard, and all ranks must gather them at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from anchorweave.models.denoiser import Denoiser

WEIGHTS = "diffusion_pytorch_model.safetensors"
LORA_WEIGHTS = "pytorch_lora_weights.safetensors"
LORA_METADATA = "lora_adapter_metadata"
# Options that a saved controller may be given: its weights have the same meaning.
TAKEN_ON = ("holes", "tokens")


def whole(tensor: Tensor) -> Tensor:
    """The full tensor on the CPU; every rank must call this at the same time."""
    tensor = tensor.detach()
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.cpu().contiguous()


def fill(tensor: Tensor, values: Tensor) -> None:
    """Copies full `values` into a tensor of which this rank may hold a shard."""
    with torch.no_grad():
        tensor.detach().copy_(_as(tensor, values))


def optimizer_tensors(
    optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """The optimiser state, `parameter/what` -> full tensor; every rank must call this together."""
    return {
        f"{name}/{what}": whole(value)
        for name, parameter in parameters.items()
        for what, value in optimizer.state[parameter].items()
    }


def fill_optimizer(
    optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """The inverse of `optimizer_tensors`."""
    for key, value in tensors.items():
        name, _, what = key.rpartition("/")
        parameter = parameters[name]
        # AdamW counts its steps in a separate tensor, which its fused kernel needs on the same
        # device.
        filled = value.to(parameter.device) if value.ndim == 0 else _as(parameter, value)
        optimizer.state[parameter][what] = filled


def save_weights(
    folder: Path, denoiser: Denoiser, tensors: Mapping[str, Tensor], suffix: str = ""
) -> None:
    """Writes trained weights in diffusers' formats.

    The controller to `controller/`, a reference network to `references/`, a trained backbone to
    `transformer/`, its LoRA to `backbone_lora/` (for `load_lora_weights`), each with `suffix`
    appended to the name.

    Args:
        folder: the checkpoint.
        denoiser: provides the configurations.
        tensors: by the denoiser's names.
        suffix: `_ema` for the EMA weights.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, key = _place(name)
        parts.setdefault(part, {})[key] = tensor
    for part, state in parts.items():
        where = folder / f"{part}{suffix}"
        where.mkdir(parents=True)
        metadata = {"format": "pt"}
        if part == "backbone_lora":
            metadata[LORA_METADATA] = _lora_metadata(denoiser.backbone)
        else:
            network = denoiser.backbone if part == "transformer" else getattr(denoiser, part)
            network.save_config(where)
        save_file(state, where / _file(part), metadata=metadata)


def load_weights(
    folder: Path, parameters: Mapping[str, Tensor], suffix: str = ""
) -> dict[str, Tensor]:
    """Reads what `save_weights` wrote, by the denoiser's names.

    Args:
        folder: the checkpoint.
        parameters: required names, with their shapes.
        suffix: `_ema` for the EMA weights.

    Raises:
        ValueError: names or shapes differ: the checkpoint is of another network.
    """
    files: dict[str, dict[str, Tensor]] = {}
    tensors = {}
    for name, parameter in parameters.items():
        part, key = _place(name)
        path = folder / f"{part}{suffix}" / _file(part)
        if part not in files:
            files[part] = load_file(path) if path.is_file() else {}
        value = files[part].pop(key, None)
        if value is None or value.shape != parameter.shape:
            actual = "nothing" if value is None else tuple(value.shape)
            raise ValueError(
                f"{path}: {key} should be {tuple(parameter.shape)}, got {actual}; the checkpoint "
                "is of another network than this config's"
            )
        tensors[name] = value
    if left := [f"{part}: {key}" for part, state in files.items() for key in state]:
        raise ValueError(
            f"{folder}: the checkpoint is of another network than this config's, which has no "
            f"{left[0]} ({len(left)} such weights)"
        )
    return tensors


def refuse_other_networks(folder: Path, denoiser: Denoiser) -> None:
    """Refuses a checkpoint whose weights would fit, but were trained for another network.

    Args:
        folder: the checkpoint.
        denoiser: the network to load them into.

    Raises:
        ValueError: the message names the first setting that differs, with both values.
    """
    for part in ("controller", "references"):
        network, path = getattr(denoiser, part), folder / part / "config.json"
        if network is not None and path.is_file():
            _refuse_other(path, json.loads(path.read_text()), network.config)
    path = folder / "backbone_lora" / LORA_WEIGHTS
    if path.is_file() and hasattr(denoiser.backbone, "peft_config"):
        with safe_open(path, "pt") as stored:
            saved = json.loads(stored.metadata()[LORA_METADATA])
        own = json.loads(_lora_metadata(denoiser.backbone))
        names = [f"transformer.{name}" for name in ("r", "lora_alpha")]
        _refuse_other(path, {name: saved[name] for name in names}, own)


def _refuse_other(path: Path, saved: Mapping, own: Mapping) -> None:
    for name, value in saved.items():
        if name.startswith("_") or name in TAKEN_ON or own.get(name, value) == value:
            continue
        raise ValueError(
            f"{path}: {name}={value}, but {own[name]} here; the checkpoint is of another network "
            "than this config's. Restore the old value, or start a new run in another output"
        )


def _as(like: Tensor, values: Tensor) -> Tensor:
    values = values.to(like.device, like.dtype)
    if isinstance(like, DTensor):
        return distribute_tensor(values, like.device_mesh, like.placements)
    return values


def _place(name: str) -> tuple[str, str]:
    """The folder of one of the denoiser's parameters, and its name in the file there."""
    network, _, rest = name.partition(".")
    if network in ("controller", "references"):
        return network, rest
    if ".lora_" in rest:
        # peft appends the adapter's name to the matrix's, diffusers omits it.
        return "backbone_lora", "transformer." + rest.replace(".default.", ".")
    return "transformer", rest


def _file(part: str) -> str:
    return LORA_WEIGHTS if part == "backbone_lora" else WEIGHTS


def _lora_metadata(backbone: nn.Module) -> str:
    stated = backbone.peft_config["default"].to_dict()
    plain = {
        f"transformer.{key}": sorted(value) if isinstance(value, set) else value
        for key, value in stated.items()
        if isinstance(value, (str, int, float, bool, list, dict, set)) or value is None
    }
    return json.dumps(plain, sort_keys=True)

"""Loads the authors' released checkpoints into our controller, strictly."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from anchorweave.models.controller import WeavingController
from anchorweave.models.whole import refuse_not_finite

# released prefix -> ours
PREFIXES = {
    "patch_embed.proj.": "latent_proj.",
    "patch_embed.text_proj.": "text_proj.",
    "time_embedding.": "time_embedding.",
    "transformer_blocks.": "blocks.",
    "out_projectors.": "control_proj.",
    "confidence_net.": "anchor_weights.confidence.",
    "camera_time_conv.": "camera_encoder.compress.",
    "camera_pose_blocks.": "camera_encoder.embed.",
    "camera_out_projectors.": "camera_encoder.project.",
}
ENTRIES = {"ema": "ema_state_dict", "live": "state_dict"}


def load_released_checkpoint(
    path: str | Path, controller: WeavingController, weights: str = "ema"
) -> None:
    """Loads `controller` from a `.pt` file of the released training code.

    Args:
        path: a file with `state_dict` and, from its second stage on, `ema_state_dict`.
        controller: must have the sizes that the checkpoint was trained with.
        weights: `ema` (which the released sampler prefers) or `live`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is not such a checkpoint, tensors that do not fit (all are named),
            or weights that are not finite.
    """
    if weights not in ENTRIES:
        raise ValueError(f"weights is one of {', '.join(ENTRIES)}; got {weights!r}")
    if not Path(path).is_file():
        raise FileNotFoundError(f"no controller checkpoint at {path}; see pretrained/README.md")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} is not a readable checkpoint of tensors ({error}); download it again"
        ) from error
    entry = ENTRIES[weights]
    if not isinstance(checkpoint, Mapping) or entry not in checkpoint:
        entries = list(checkpoint) if isinstance(checkpoint, Mapping) else type(checkpoint).__name__
        raise ValueError(
            f"{path} has no {entry!r} but {entries}; choose the other of weights=ema, weights=live "
            "or another file"
        )
    load_released_state(checkpoint[entry], controller, where=f"{path} ({entry})")
    refuse_not_finite(controller, path)


def load_released_state(
    state: Mapping[str, Tensor], controller: WeavingController, where: str
) -> None:
    """Loads `controller` from tensors with their released names.

    Args:
        state: released name -> tensor, possibly with a common prefix `module.`.
        controller: the controller to load; unchanged if anything does not fit.
        where: the tensors' origin, for messages.

    Raises:
        ValueError: the message names every tensor that is missing, unexpected or of another shape.
    """
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    wanted = to_released_names(controller.state_dict())
    problems = [f"missing: {name}" for name in sorted(wanted.keys() - state.keys())]
    problems += [f"unexpected: {name}" for name in sorted(state.keys() - wanted.keys())]
    problems += [
        f"wrong shape: {name} is {tuple(state[name].shape)}, the controller's "
        f"{tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & state.keys())
        if state[name].shape != wanted[name].shape
    ]
    if problems:
        raise ValueError(
            f"{where} does not fit this controller ({len(problems)} tensors); make one with the "
            "checkpoint's sizes:\n  " + "\n  ".join(problems)
        )
    controller.load_state_dict(from_released_names(state))


def from_released_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames tensors to our names; unknown names are kept."""
    return {_renamed(name, PREFIXES): tensor for name, tensor in state.items()}


def to_released_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames tensors to the released names, as read by the authors' sampler."""
    ours = {ours: released for released, ours in PREFIXES.items()}
    return {_renamed(name, ours): tensor for name, tensor in state.items()}


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name

"""Loads the authors' released checkpoints into our controller, strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from anchorweave.models.controller import WeavingController
from anchorweave.models.weaving.released_file import read_released
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
# Tensors that tell a size: released name, axis, what its length is.
SIZES = (
    ("patch_embed.proj.weight", 0, "width"),
    ("transformer_blocks.0.attn1.norm_q.weight", 0, "channels a head"),
    ("out_projectors.0.weight", 0, "width of the backbone"),
    ("patch_embed.proj.weight", 1, "latent channels of video and anchor together"),
    ("patch_embed.text_proj.weight", 1, "width of the text features"),
)


def load_released_checkpoint(
    path: str | Path, controller: WeavingController, released_weights: str = "ema"
) -> None:
    """Loads `controller` from a file of the released training code, or an export of its weights.

    Args:
        path: as in `read_released`.
        controller: must have the sizes that the checkpoint was trained with.
        released_weights: `ema` (which the released sampler prefers) or `live`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: what `read_released` refuses, tensors that do not fit (all are named), or
            weights that are not finite.
    """
    state, where = read_released(path, released_weights)
    load_released_state(state, controller, where)
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
        if state.keys() == controller.state_dict().keys():
            raise ValueError(
                f"{where} has the names of this project's own controllers, not released ones; "
                "name the folder that it was saved to, with its config.json"
            )
        raise ValueError(
            f"{where} does not fit this controller ({len(problems)} tensors).\n"
            f"It was made for {_described(state)};\nthe controller is one for "
            f"{_described(wanted)}.\nA controller is made from its backbone (model.path), so name "
            "the backbone that the checkpoint was trained with, and in training model.layers, "
            "model.heads and model.fusion if they are not the backbone's defaults:\n  "
            + "\n  ".join(problems)
        )
    controller.load_state_dict(from_released_names(state))


def _described(state: Mapping[str, Tensor]) -> str:
    """What tensors with released names were made for, as far as they tell."""
    blocks = {int(m[1]) for name in state if (m := re.match(r"transformer_blocks\.(\d+)\.", name))}
    told = [f"{len(blocks)} layers"]
    for name, axis, what in SIZES:
        if name in state and state[name].ndim > axis:
            told.append(f"{what} {state[name].shape[axis]}")
    scored = any(name.startswith("confidence_net.") for name in state)
    return ", ".join([*told, f"fusion {'pose_guided' if scored else 'average'}"])


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

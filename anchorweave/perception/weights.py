"""Weights of transformers' networks: from a folder, or from the hub's cache on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch import nn

Loaded = TypeVar("Loaded")


def load_weights(kind: type, model: str, asked: str, option: str, hub: str) -> nn.Module:
    """A network with its weights. Nothing is downloaded.

    Args:
        kind: its class in transformers.
        model: a folder in transformers' layout, or the name of one that the hub's cache holds.
        asked: the option that needs it, such as `perception=zoe`, for messages.
        option: the one that names the folder.
        hub: where to get such weights.

    Raises:
        FileNotFoundError: no weights, with what to download and where to.
    """
    network, report = found(
        lambda: kind.from_pretrained(model, local_files_only=True, output_loading_info=True),
        model,
        asked,
        option,
        hub,
    )
    if lacking := sorted(report["missing_keys"]):
        raise FileNotFoundError(
            f"{asked}: {model} is no whole {kind.__name__}: it lacks {len(lacking)} weights, such "
            f"as {lacking[0]}"
        )
    return network


def found(load: Callable[[], Loaded], model: str, asked: str, option: str, hub: str) -> Loaded:
    """What `load` finds at `model`; the other arguments as of `load_weights`.

    Raises:
        FileNotFoundError: nothing, with what to download and where to.
    """
    try:
        return load()
    except (OSError, ValueError) as error:
        inside = Path(model).parts[:1] == ("pretrained",)
        folder = model if inside else f"pretrained/{Path(hub).name}"
        raise FileNotFoundError(
            f"{asked}: no weights at {model} ({str(error).splitlines()[0]}). "
            f"`huggingface-cli download {hub} --local-dir {folder}` fetches them; "
            f"{option}= names another folder"
        ) from error

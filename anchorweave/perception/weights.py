"""Loads transformers networks from a folder or from the local Hugging Face cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch import nn

Loaded = TypeVar("Loaded")


def load_weights(kind: type, model: str, asked: str, option: str, hub: str) -> nn.Module:
    """Loads a network. Nothing is downloaded.

    Args:
        kind: its transformers class.
        model: a folder in transformers' layout, or a model name in the local Hugging Face cache.
        asked: the option that needs it, such as `perception=zoe`, for messages.
        option: the option that sets the folder, for messages.
        hub: hub name of suitable weights, for messages.

    Raises:
        FileNotFoundError: no weights; the message says what to download and where to put it.
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
            f"{asked}: {model} is not a complete {kind.__name__}: {len(lacking)} weights are "
            f"missing, such as {lacking[0]}"
        )
    return network


def found(load: Callable[[], Loaded], model: str, asked: str, option: str, hub: str) -> Loaded:
    """Calls `load`; missing weights become an error. For the arguments see `load_weights`.

    Raises:
        FileNotFoundError: nothing found; the message says what to download and where to put it.
    """
    try:
        return load()
    except (OSError, ValueError) as error:
        inside = Path(model).parts[:1] == ("pretrained",)
        folder = model if inside else f"pretrained/{Path(hub).name}"
        raise FileNotFoundError(
            f"{asked}: no weights at {model} ({str(error).splitlines()[0]}). "
            f"`hf download {hub} --local-dir {folder}` fetches them; "
            f"{option}= names another folder"
        ) from error

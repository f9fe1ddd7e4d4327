"""Loads networks from folders, refusing missing or non-finite weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import torch
import transformers
from torch import nn

Network = TypeVar("Network", bound=nn.Module)
# Weights listed in a message; the rest is only counted.
NAMED = 3


def load_whole(
    kind: type[Network], folder: str | Path, subfolder: str | None = None, **loading
) -> Network:
    """Loads a diffusers or transformers network, without newly initialised weights.

    For missing weights the libraries use new values, or none at all, and only warn.

    Args:
        kind: class of the network.
        folder: the folder it was saved to.
        subfolder: a subfolder of `folder`.
        **loading: arguments of `from_pretrained`.

    Raises:
        ValueError: missing or non-finite weights; the message names the first
            ones.
    """
    if subfolder is not None:
        loading["subfolder"] = subfolder
    network, report = kind.from_pretrained(folder, output_loading_info=True, **loading)
    where = Path(folder) if subfolder is None else Path(folder, subfolder)
    refuse_missing(sorted(report["missing_keys"]), where)
    refuse_not_finite(network, where)
    return network


def with_text_encoder(path: str | Path, loading: dict) -> dict:
    """Arguments for diffusers' `from_pretrained` of a pipeline, with a complete text encoder.

    Unlike diffusers, transformers initialises missing weights at random, which could not be
    detected afterwards.

    Args:
        path: the pipeline's folder.
        loading: the arguments so far.

    Raises:
        ValueError: missing or non-finite weights of the text encoder.
    """
    if "text_encoder" in loading or not Path(path, "text_encoder", "config.json").is_file():
        return loading
    dtype = {key: loading[key] for key in ("dtype", "torch_dtype") if key in loading}
    _, kind = json.loads(Path(path, "model_index.json").read_text())["text_encoder"]
    encoder = load_whole(getattr(transformers, kind), path, "text_encoder", **dtype)
    return loading | {"text_encoder": encoder}


def refuse_without_values(network: nn.Module, where: str | Path) -> None:
    """Refuses a loaded network with uninitialised or NaN weights.

    Raises:
        ValueError: the message names the first ones, and where they should have come from.
    """
    refuse_missing([name for name, p in network.named_parameters() if p.is_meta], where)
    refuse_not_finite(network, where)


def refuse_not_finite(network: nn.Module, where: str | Path) -> None:
    """Refuses a loaded network with non-finite weights: its output would be black.

    Raises:
        ValueError: the message names the first ones, and the file.
    """
    wrong = {name: p.dtype for name, p in network.named_parameters() if not _finite(p)}
    if wrong:
        more = f" and {len(wrong) - NAMED} more" * (len(wrong) > NAMED)
        files = sorted(Path(where).glob("*.safetensors")) if Path(where).is_dir() else []
        named = files[0] if len(files) == 1 else where
        dtype = next(iter(wrong.values()))
        narrow = "" if dtype == torch.float32 else ", or load it in float32 (too large for less)"
        raise ValueError(
            f"{named} holds weights that are not finite in {dtype}: "
            f"{', '.join([*wrong][:NAMED])}{more}; copy it again, or use an earlier checkpoint"
            f"{narrow}"
        )


def _finite(weight: torch.Tensor) -> bool:
    # A sum does not copy the weight, and is non-finite if any element is.
    total = weight.detach().sum(dtype=torch.float32)
    return bool(total.isfinite()) or bool(weight.detach().isfinite().all())


def refuse_missing(missing: list[str], where: str | Path) -> None:
    """Refuses a network with missing weights.

    Args:
        missing: their names.
        where: the folder that should contain them.

    Raises:
        ValueError: weights are missing.
    """
    if missing:
        more = f" and {len(missing) - NAMED} more" * (len(missing) > NAMED)
        raise ValueError(
            f"{where} lacks weights required by its config.json: {', '.join(missing[:NAMED])}"
            f"{more}; the file is truncated or of another network, copy it again"
        )

"""Networks loaded from folders, refused unless every weight is there and finite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import torch
import transformers
from torch import nn

Network = TypeVar("Network", bound=nn.Module)
# Weights named in a message before the rest is only counted.
NAMED = 3


def load_whole(
    kind: type[Network], folder: str | Path, subfolder: str | None = None, **loading
) -> Network:
    """A network of diffusers or transformers by its `from_pretrained`, nothing of it made up.

    The libraries give new values, or none at all, to weights that the folder lacks, and only warn.

    Args:
        kind: its class.
        folder: that it was saved to.
        subfolder: of `folder`.
        **loading: for `from_pretrained`.

    Raises:
        ValueError: the folder lacks weights, or holds some that are not finite; names the first
            ones.
    """
    if subfolder is not None:
        loading["subfolder"] = subfolder
    network, found = kind.from_pretrained(folder, output_loading_info=True, **loading)
    where = Path(folder) if subfolder is None else Path(folder, subfolder)
    refuse_missing(sorted(found["missing_keys"]), where)
    refuse_not_finite(network, where)
    return network


def with_text_encoder(path: str | Path, loading: dict) -> dict:
    """Words for diffusers' `from_pretrained` of a pipeline, with a text encoder that lacks nothing.

    Unlike diffusers, transformers fills what is missing with random numbers, so that nobody could
    tell afterwards.

    Args:
        path: the pipeline's folder.
        loading: the words so far.

    Raises:
        ValueError: the folder lacks weights of the text encoder, or holds some that are not finite.
    """
    if "text_encoder" in loading or not Path(path, "text_encoder", "config.json").is_file():
        return loading
    told = {key: loading[key] for key in ("dtype", "torch_dtype") if key in loading}
    _, kind = json.loads(Path(path, "model_index.json").read_text())["text_encoder"]
    encoder = load_whole(getattr(transformers, kind), path, "text_encoder", **told)
    return loading | {"text_encoder": encoder}


def refuse_without_values(network: nn.Module, where: str | Path) -> None:
    """Refuse a loaded network of which some weights have got no values, or none that is a number.

    Raises:
        ValueError: names the first ones, and where they should have come from.
    """
    refuse_missing([name for name, p in network.named_parameters() if p.is_meta], where)
    refuse_not_finite(network, where)


def refuse_not_finite(network: nn.Module, where: str | Path) -> None:
    """Refuse a loaded network with weights that are not finite: all that it makes would be black.

    Raises:
        ValueError: names the first ones, and the file.
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
            f"{', '.join([*wrong][:NAMED])}{more}; copy it again, or take an earlier checkpoint"
            f"{narrow}"
        )


def _finite(weight: torch.Tensor) -> bool:
    # A sum makes no copy of the weight, and is not finite where any part is not.
    total = weight.detach().sum(dtype=torch.float32)
    return bool(total.isfinite()) or bool(weight.detach().isfinite().all())


def refuse_missing(missing: list[str], where: str | Path) -> None:
    """Refuse a network that lacks weights.

    Args:
        missing: their names.
        where: the folder that should hold them.

    Raises:
        ValueError: there are any.
    """
    if missing:
        more = f" and {len(missing) - NAMED} more" * (len(missing) > NAMED)
        raise ValueError(
            f"{where} lacks weights that its config.json speaks of: {', '.join(missing[:NAMED])}"
            f"{more}; the file is cut or of another network, copy it again"
        )

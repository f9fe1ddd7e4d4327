"""The encoded half of a prepared clip: what precomputing writes and training reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from anchorweave.datasets.fingerprint import digest
from anchorweave.datasets.layout import BadClip, reading
from anchorweave.files import atomic_write, bytes_sum

# Tensor names in latents.safetensors
TARGET, IMAGE = "target", "image"
# and in caption.safetensors.
FEATURES = "features"
# A single metadata entry, because the order of several is not deterministic.
MADE = "made"
# Inside it: checksums of the metadata and of every tensor.
SUMS = "sums"
# Defaults for files older than the option.
MADE_BEFORE = {"holes": "black"}


def anchors_key(memory: str) -> str:
    """Name of the anchor latents of one memory system."""
    return f"anchors.{memory}"


def visible_key(memory: str) -> str:
    """Name of the visible tokens of its anchors."""
    return f"visible_tokens.{memory}"


def coverage_key(memory: str) -> str:
    """Name of the fraction of each of those tokens that was observed; older files lack it."""
    return f"coverage.{memory}"


def references_key(memory: str) -> str:
    """Name of the latents of its reference frames."""
    return f"references.{memory}"


def preceding_keys(memory: str) -> tuple[str, ...]:
    """Names of its preceding-frame tensors, where it has any.

    The latents, the anchor latents, and these anchors' visible tokens and coverage.
    """
    parts = ("preceding", "preceding_anchors", "preceding_visible_tokens", "preceding_coverage")
    return tuple(f"{part}.{memory}" for part in parts)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], made: Mapping[str, Any]) -> None:
    """Writes tensors with their metadata and checksums, atomically.

    Raises:
        ValueError: values that are not finite (in the stored precision); the message names them.
        OSError: the file could not be written completely.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(
                f"{path}: {name} has values that are not finite in {tensor.dtype}; "
                "compute or store in a wider precision"
            )
    whole = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    # safetensors' own save_file makes files readable by their owner only.
    sums = {MADE: digest(dict(made))} | {name: _tensor_sum(x) for name, x in whole.items()}
    stored = save(whole, metadata={MADE: json.dumps({**made, SUMS: sums}, sort_keys=True)})
    with atomic_write(path) as aside:
        aside.write_bytes(stored)


def read_made(path: Path) -> dict[str, Any]:
    """The settings that a tensor file was made with, from its header alone.

    Raises:
        BadClip: the file is missing or unreadable, or its header is corrupt.
    """
    with reading(path.parent, path.name), safe_open(path, "pt") as stored:
        made, _ = _header(path, stored)
    return made


def keeps_sums(path: Path) -> bool:
    """Whether a file of tensors stores checksums; older ones do not.

    Raises:
        BadClip: the file is missing or unreadable, or its header is corrupt.
    """
    with reading(path.parent, path.name), safe_open(path, "pt") as stored:
        return bool(_header(path, stored)[1])


def read_tensors(
    path: Path, names: tuple[str, ...], if_there: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """The tensors of `names`; floats are returned as float32, whatever the stored precision.

    Args:
        path: a file of tensors.
        names: required tensors.
        if_there: optional tensors, omitted if the file lacks them.

    Raises:
        BadClip: the file is missing, truncated, lacks one of `names`, or holds values that are not
            finite or do not match their checksum.
    """
    with reading(path.parent, path.name), safe_open(path, "pt") as stored:
        sums = _header(path, stored)[1] if stored.metadata() else {}
        stored_names = list(stored.keys())
        if missing := [name for name in names if name not in stored_names]:
            raise BadClip(path.parent, f"{path.name} lacks {missing}; it holds {stored_names}")
        wanted = (*names, *(name for name in if_there if name in stored_names))
        tensors = {name: stored.get_tensor(name) for name in wanted}
    for name, tensor in tensors.items():
        if name in sums and (checksum := _tensor_sum(tensor)) != sums[name]:
            raise BadClip(
                path.parent,
                f"{path.name}: {name} is corrupt (its checksum is {checksum}, the header says "
                f"{sums[name]}); remove the file and precompute it again",
            )
        if tensor.is_floating_point():
            tensors[name] = tensor.float()
            if not tensor.isfinite().all():
                raise BadClip(path.parent, f"{path.name}: {name} has values that are not finite")
    return tensors


def _header(path: Path, stored: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings an open file was made with, and its checksums (older files have none)."""
    made = json.loads((stored.metadata() or {})[MADE])
    sums = made.pop(SUMS, {})
    if sums and sums.get(MADE) != digest(made):
        raise BadClip(
            path.parent,
            f"{path.name}: its header is corrupt; remove the file and precompute it again",
        )
    return made, sums


def _tensor_sum(tensor: Tensor) -> str:
    """A checksum of a tensor's dtype, shape and bytes."""
    kind = f"{tensor.dtype} {tuple(tensor.shape)}\n".encode()
    return bytes_sum(kind + tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())

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

# Names of tensors: latents.safetensors
TARGET, IMAGE = "target", "image"
# and caption.safetensors.
FEATURES = "features"
# A single entry, because the order of several differs between writes.
MADE = "made"
# Under it, beside what the file was made with: a sum of that and one of every tensor.
SUMS = "sums"
# Defaults for files that are older than the option.
MADE_BEFORE = {"holes": "black"}


def anchors_key(memory: str) -> str:
    """Name of the anchor latents of one memory system."""
    return f"anchors.{memory}"


def visible_key(memory: str) -> str:
    """Name of the visible tokens of its anchors."""
    return f"visible_tokens.{memory}"


def coverage_key(memory: str) -> str:
    """Name of the share of each of those tokens that was seen; older files lack it."""
    return f"coverage.{memory}"


def references_key(memory: str) -> str:
    """Name of the latents of its reference frames."""
    return f"references.{memory}"


def preceding_keys(memory: str) -> tuple[str, ...]:
    """Names of what it gives of the preceding frames, where it does.

    Their latents, those of their anchors, and of these the visible tokens and the share of each.
    """
    parts = ("preceding", "preceding_anchors", "preceding_visible_tokens", "preceding_coverage")
    return tuple(f"{part}.{memory}" for part in parts)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], made: Mapping[str, Any]) -> None:
    """Write tensors, what they were made with and their sums, aside and then renamed.

    Raises:
        ValueError: values that are not finite (in the precision that is stored), by name.
        OSError: the file could not be written whole.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(
                f"{path}: {name} has values that are not finite in {tensor.dtype}; "
                "compute or store in a wider precision"
            )
    whole = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    # Saved to a file, safetensors would keep everybody but its owner from reading it.
    sums = {MADE: digest(dict(made))} | {name: _tensor_sum(one) for name, one in whole.items()}
    stored = save(whole, metadata={MADE: json.dumps({**made, SUMS: sums}, sort_keys=True)})
    with atomic_write(path) as aside:
        aside.write_bytes(stored)


def read_made(path: Path) -> dict[str, Any]:
    """What a file of tensors was made with, from its header alone.

    Raises:
        BadClip: the file is missing or unreadable, or its header is not the one that was written.
    """
    with reading(path.parent, path.name), safe_open(path, "pt") as stored:
        made, _ = _header(path, stored)
    return made


def keeps_sums(path: Path) -> bool:
    """Whether a file of tensors stores checksums; older ones do not.

    Raises:
        BadClip: the file is missing or unreadable, or its header is not the one that was written.
    """
    with reading(path.parent, path.name), safe_open(path, "pt") as stored:
        return bool(_header(path, stored)[1])


def read_tensors(
    path: Path, names: tuple[str, ...], if_there: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """The tensors of `names`; floats are returned as float32, whatever precision is stored.

    Args:
        path: a file of tensors.
        names: which.
        if_there: more, left out where the file has none of that name.

    Raises:
        BadClip: the file is missing, cut off, lacks one of them, or holds values that are not
            finite or not those that were written.
    """
    with reading(path.parent, path.name), safe_open(path, "pt") as stored:
        sums = _header(path, stored)[1] if stored.metadata() else {}
        stored_names = list(stored.keys())
        if missing := [name for name in names if name not in stored_names]:
            raise BadClip(path.parent, f"{path.name} lacks {missing}; it holds {stored_names}")
        wanted = (*names, *(name for name in if_there if name in stored_names))
        tensors = {name: stored.get_tensor(name) for name in wanted}
    for name, tensor in tensors.items():
        if name in sums and (met := _tensor_sum(tensor)) != sums[name]:
            raise BadClip(
                path.parent,
                f"{path.name}: {name} is not what was written (its sum is {met}, the header says "
                f"{sums[name]}); remove the file and precompute it again",
            )
        if tensor.is_floating_point():
            tensors[name] = tensor.float()
            if not tensor.isfinite().all():
                raise BadClip(path.parent, f"{path.name}: {name} has values that are not finite")
    return tensors


def _header(path: Path, stored: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """What an open file was made with, and its sums; none in files older than these."""
    made = json.loads((stored.metadata() or {})[MADE])
    sums = made.pop(SUMS, {})
    if sums and sums.get(MADE) != digest(made):
        raise BadClip(
            path.parent,
            f"{path.name}: its header is not what was written; remove the file and precompute it "
            "again",
        )
    return made, sums


def _tensor_sum(tensor: Tensor) -> str:
    """A short name for a tensor's kind, shape and bytes."""
    kind = f"{tensor.dtype} {tuple(tensor.shape)}\n".encode()
    return bytes_sum(kind + tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())

"""Reads the files of tensors that the authors' training code writes, or that were exported of them.

This does not import diffusers, so that options can tell such a file from a folder by its name.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

SUFFIXES = (".pt", ".safetensors")
ENTRIES = {"ema": "ema_state_dict", "live": "state_dict"}


def is_released_file(path: str | Path | None) -> bool:
    """Whether a controller's path is such a file, by its name; otherwise it is a folder of ours."""
    return path is not None and Path(path).suffix in SUFFIXES and not Path(path).is_dir()


def read_released(path: str | Path, released_weights: str = "ema") -> tuple[dict[str, Tensor], str]:
    """The tensors of a released file.

    Args:
        path: a `.pt` file with `state_dict` and, from the second stage of training on,
            `ema_state_dict`; or a `.pt` or `.safetensors` file that is one mapping of released
            names to tensors, an export of the moving average.
        released_weights: `ema` (which the released sampler prefers) or `live`.

    Returns:
        Released name -> tensor, and where they are from, for messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, one with other objects than tensors, or one without these
            weights.
    """
    if released_weights not in ENTRIES:
        raise ValueError(
            f"released_weights is one of {', '.join(ENTRIES)}; got {released_weights!r}"
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"no controller checkpoint at {path}; see pretrained/README.md")
    read = _read_pickled if Path(path).suffix == ".pt" else _read_safetensors
    content = read(path)
    entry = ENTRIES[released_weights]
    if isinstance(content, Mapping) and isinstance(content.get(entry), Mapping):
        return _of_tensors(content[entry], f"{path} ({entry})"), f"{path} ({entry})"
    stored = [name for name in ENTRIES.values() if _has(content, name)]
    if stored:
        (other,) = (name for name, one in ENTRIES.items() if one == stored[0])
        raise ValueError(
            f"{path} has no {entry!r} but {list(content)}; choose the others by "
            f"released_weights={other} (of a command: model.released_weights={other})"
        )
    tensors = _of_tensors(content, str(path))
    if released_weights == "live":
        raise ValueError(
            f"{path} is one mapping of tensors, which is taken for the moving average, and has no "
            "live weights; leave released_weights (of a command: model.released_weights) out"
        )
    return tensors, str(path)


def _has(content: object, entry: str) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(entry), Mapping)


def _of_tensors(content: object, where: str) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{where} holds a {type(content).__name__}, not tensors by name; pretrained/README.md "
            "describes the files that are read"
        )
    other = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if other or not content:
        named = ", ".join(map(str, other[:3])) or "nothing"
        raise ValueError(
            f"{where} should hold 'state_dict', 'ema_state_dict' or tensors alone, but holds "
            f"{named} besides; pretrained/README.md describes the files that are read"
        )
    return dict(content)


def _read_safetensors(path: str | Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a readable file of tensors ({error}); it is damaged or of another "
            "kind; download or export it again"
        ) from error


def _read_pickled(path: str | Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        if refused := _refused(path):
            raise ValueError(
                f"{path} is whole, but holds objects that are not tensors "
                f"({', '.join(refused)}) and are not loaded, because loading them may run code; "
                "if you trust the file, write its weights alone: checkpoint = torch.load(FILE, "
                "weights_only=False); torch.save({name: checkpoint[name] for name in "
                "('state_dict', 'ema_state_dict') if name in checkpoint}, NEW_FILE)"
            ) from error
        raise ValueError(
            f"{path} is not a readable checkpoint of tensors ({_reason(error)}); it is damaged or "
            "of another kind; download it again"
        ) from error


def _refused(path: str | Path) -> list[str]:
    """Classes in a whole file that torch does not load; none if the file is not whole."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError):
        return []


def _reason(error: Exception) -> str:
    # Torch begins with an advice to load the file unsafely.
    told = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return told.splitlines()[0] if told else type(error).__name__

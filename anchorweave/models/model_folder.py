"""Model folders: the components of a model as loaded by `AnchorWeavePipeline.from_pretrained`."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from diffusers.configuration_utils import ConfigMixin

from anchorweave.files import atomic_write
from anchorweave.models.backbones import families, family_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.notes import WEIGHTS_NOTE
from anchorweave.models.quiet_loading import quiet_loading
from anchorweave.models.whole import load_whole

INDEX = "model_index.json"
# Optional components; the index lists them as null, as diffusers' own does.
OPTIONAL = ("references",)
# Components of every image-to-video model, ours and official ones.
BACKBONE = ("tokenizer", "text_encoder", "vae", "transformer", "scheduler")
WITHOUT_WEIGHTS = ("tokenizer", "scheduler")
# Components that can be loaded individually; most have their own class in each family.
PARTS = (*BACKBONE, "controller")


def load_part(name: str, folder: str | Path) -> object:
    """Loads one component of a model from its own folder, networks in float32.

    Args:
        name: one of `PARTS`.
        folder: the folder it was saved to.

    Raises:
        FileNotFoundError: `folder` has no such component.
        ValueError: a folder with another kind of component, or with missing weights.
    """
    folder = Path(folder)
    config = folder / _config_file(name)
    if not config.is_file():
        raise FileNotFoundError(f"{name}: {folder} holds none (no {config.name} in it)")
    settings = json.loads(config.read_text())
    # transformers' configs name the saved class, tokenizers' configs that of their family.
    stored = settings.get("_class_name") or next(iter(settings.get("architectures") or ()), None)
    kind = _kind(name, stored, folder)
    with quiet_loading():
        if issubclass(kind, torch.nn.Module):
            return load_whole(kind, folder, dtype=torch.float32)
        return kind.from_pretrained(folder)


def _kind(name: str, stored: str | None, folder: Path) -> type:
    """The class of a component, among those of all families."""
    kinds = [WeavingController] if name == "controller" else []
    kinds = kinds or [family.parts[name] for family in families().values()]
    if stored is None and not issubclass(kinds[0], ConfigMixin):
        return kinds[0]
    for kind in kinds:
        if kind.__name__ == stored:
            return kind
    wanted = " or a ".join(kind.__name__ for kind in kinds)
    raise ValueError(f"{name}: {folder} contains a {stored}, expected a {wanted}")


def write_model(
    path: str | Path,
    parts: Mapping[str, object],
    note: str | None,
    files: Mapping[str, str] | None = None,
) -> None:
    """Writes a new model folder; it appears under its final name when complete.

    Args:
        path: the folder.
        parts: by the names of `AnchorWeavePipeline`'s arguments; networks in the precision to
            store; None for an absent optional component.
        note: stored as the folder's `weights_note`; None = no note.
        files: additional files, name -> text.

    Raises:
        FileExistsError: `path` exists.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists; remove it, or name another folder for the model")
    path.parent.mkdir(parents=True, exist_ok=True)
    present = {name: part for name, part in parts.items() if part is not None}
    index = {
        "_class_name": family_of(parts["transformer"]).pipeline,
        "_diffusers_version": importlib.metadata.version("diffusers"),
        **({} if note is None else {WEIGHTS_NOTE: note}),
    }
    with atomic_write(path) as aside:
        aside.mkdir()
        for name, part in present.items():
            with quiet_loading():
                part.save_pretrained(aside / name)
            module = type(part).__module__
            # diffusers writes short library names for its own and transformers' classes, else full
            # ones.
            library = module.split(".")[0]
            official = library in ("diffusers", "transformers")
            index[name] = [library if official else module, type(part).__name__]
        index |= {name: [None, None] for name in OPTIONAL if name not in present}
        (aside / INDEX).write_text(json.dumps(index, indent=2) + "\n")
        for name, text in (files or {}).items():
            (aside / name).write_text(text)


def check_parts(
    path: str | Path, only: Collection[str] | None = None, without: Collection[str] = ()
) -> None:
    """Refuses a model folder that lacks a component listed in its index.

    Args:
        path: a folder in diffusers' layout.
        only: required components; None = those of every image-to-video model, and all that the
            index lists.
        without: components that are not loaded from the folder.

    Raises:
        FileNotFoundError: no index, or components that are missing or lack their configuration or
            weights; the message names all of them.
        ValueError: an unreadable index.
    """
    path = Path(path)
    file = path / INDEX
    if not file.is_file():
        raise FileNotFoundError(
            f"no model at {path} (no {INDEX} in it); pretrained/README.md says which weights go "
            "where"
        )
    try:
        index = dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} cannot be read ({error}); copy the model again") from error
    parts = {
        name: kind
        for name, kind in index.items()
        if isinstance(kind, list) and all(isinstance(word, str) for word in kind)
    }
    needed = [*BACKBONE, *parts] if only is None else only
    lacking = []
    for name in dict.fromkeys(needed):
        if name not in without:
            lack = f"{INDEX} does not list it" if name not in parts else _lack(path, name)
            lacking += [f"{name} ({lack})"] if lack else []
    if lacking:
        raise FileNotFoundError(
            f"the model {path} lacks {', '.join(lacking)}; copy these components again "
            "(pretrained/README.md says which files go where)"
        )


def _lack(path: Path, name: str) -> str | None:
    """What a component's folder lacks; None = nothing."""
    folder = path / name
    if not folder.is_dir():
        return f"there is no folder {name}/"
    config = _config_file(name)
    if not (folder / config).is_file():
        return f"no {config} in {name}/"
    if name in WITHOUT_WEIGHTS:
        return None
    for shards in folder.glob("*.index.json"):
        listed = set(json.loads(shards.read_text()).get("weight_map", {}).values())
        if gone := sorted(file for file in listed if not (folder / file).is_file()):
            return f"no {', '.join(gone)} in {name}/"
    if not any(file.suffix in (".safetensors", ".bin") for file in folder.iterdir()):
        return f"no weights in {name}/"
    return None


def _config_file(name: str) -> str:
    return {"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"}.get(
        name, "config.json"
    )

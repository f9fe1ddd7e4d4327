r"""Assembles a model folder from trained components, and new ones where none exist.

    python -m training.make_model                     # anchorweave-tiny before its training
    python -m training.make_model config=configs/anchorweave_tiny/export.yaml
    python -m training.make_model model.path=outputs/anchorweave_tiny/model output=outputs/mine \
        transformer=outputs/my_backbone dtype=float16

Writes to `output` a folder that `AnchorWeavePipeline.from_pretrained` loads, and made.json, which
records its origin. Run again, it leaves an existing folder unchanged, and refuses one that was
made from something else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import check_made, flat
from anchorweave.locks import making
from anchorweave.models.backbones import family_of
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.digest import weights_digest
from anchorweave.models.model_folder import PARTS, load_part, write_model
from anchorweave.models.references.reference_networks import load_reference_network
from anchorweave.models.small.backbone import BackboneConfig, noise_schedule, small_backbone
from anchorweave.models.weaving.make_controller import ControllerOptions, make_controller
from anchorweave.pipelines import pipeline_of
from training.engine.finished import newest_weights
from training.networks.new import TRAINED_WITH

DEFAULT = "configs/anchorweave_tiny/model.yaml"
MADE, CARD = "made.json", "README.md"
# Options added later, at the value that corresponds to existing folders.
ADDED_LATER = {"weaving.holes": "black", "weaving.every": 1, "weaving.coverage": False}
# Option names -> names in `BackboneSizes` and in a controller's own config.
BACKBONE_NAMES = {
    "layers": "num_layers",
    "heads": "num_heads",
    "head_channels": "head_dim",
    "time_channels": "time_embed_dim",
    "patch_size": "patch_size",
}
WEAVING_NAMES = TRAINED_WITH | {"tokens": "tokens", "holes": "holes"}
# No prompt is this long; tokenizers without a set length state 10^30.
MOST_TOKENS = 10_000
NETWORKS = ("text_encoder", "vae", "transformer", "controller", "references")


@dataclass(frozen=True)
class WeavingConfig:
    """A new controller.

    Args:
        layers: number of woven backbone layers.
        heads: attention heads.
        fusion: `pose_guided` or `average`.
        attention: `joint` or `separate`.
        tokens: `all` or `visible`.
        holes: how holes of its training anchors are filled: `black`, `cracks` or `filled`.
        every: stride between woven layers, starting with the first.
        coverage: whether each token gets the fraction of its pixels that were observed.
    """

    layers: int = 3
    heads: int = 2
    fusion: str = "pose_guided"
    attention: str = "joint"
    tokens: str = "all"
    holes: str = "black"
    every: int = 1
    coverage: bool = False


@dataclass(frozen=True)
class BaseModelConfig:
    """The base model, which provides every component that is not named.

    Args:
        path: the folder; null = none.
    """

    path: str | None = None


@dataclass(frozen=True)
class MakeModelConfig:
    """What to assemble a model folder from.

    Args:
        output: the folder.
        model: the base model, which provides all components not named here.
        vae: folder of the autoencoder; null = the base's.
        text: folder with tokenizer/ and text_encoder/; null = the base's.
        transformer: folder of the backbone, or of a training run, meaning the EMA weights of its
            newest checkpoint; null = the base's, or a new one without a base.
        controller: likewise the controller.
        references: likewise the reference network; null = the base's, or none.
        unfinished: whether to accept a run that has not finished.
        dtype: storage precision of the weights.
        seed: seed of new weights.
        card: a model card to copy as README.md; null = none.
        note: note in the folder about its weights; null = none.
        backbone: architecture of a new backbone, of the autoencoder's family.
        weaving: architecture of a new controller.
    """

    output: str = "outputs/model"
    vae: str | None = None
    text: str | None = None
    transformer: str | None = None
    controller: str | None = None
    references: str | None = None
    unfinished: bool = False
    dtype: Literal["float32", "float16"] = "float32"
    seed: int = 0
    card: str | None = None
    note: str | None = None
    model: BaseModelConfig = field(default_factory=BaseModelConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    weaving: WeavingConfig = field(default_factory=WeavingConfig)


def main(words: Sequence[str]) -> None:
    """Makes the folder, with `a.b=c` overrides."""
    config = load_config(MakeModelConfig, words, DEFAULT)
    with making(config.output):
        make(config)


def make(config: MakeModelConfig) -> None:
    """Makes the folder, unless it already exists with the same origin.

    Raises:
        FingerprintError: it exists, made from something else.
        ValueError: components that do not fit each other.
    """
    output, folders = Path(config.output), part_folders(config)
    made = _made(config, folders)
    if (output / MADE).is_file():
        stored = json.loads((output / MADE).read_text())
        check_made(output, flat(stored), flat(made), "remove it, or name another output")
        return print(f"{output} already exists, made from the same components")
    parts = read_parts(config, folders)
    refuse_in_vain(config, folders, parts)
    for name in (n for n in NETWORKS if parts[n] is not None):
        print(f"{name}: {_size(parts[name])}, {folders.get(name, 'new')}", flush=True)
        # With torch's own method: those of the libraries skip some layers, or print messages.
        nn.Module.to(parts[name], getattr(torch, config.dtype))
    files = {MADE: json.dumps(made, indent=1) + "\n"}
    if config.card is not None:
        files[CARD] = Path(config.card).read_text()
    write_model(output, parts, config.note, files)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    print(f"{output}: {size / 1e6:.2f} MB in {config.dtype}")


def part_folders(config: MakeModelConfig) -> dict[str, Path]:
    """The source folder of each component by name; new components are not included.

    Raises:
        ValueError: a component without any source.
        FileNotFoundError: the base is not a model folder, or a run lacks the component.
    """
    folders = {}
    base = config.model.path
    if base is not None:
        if not Path(base, "model_index.json").is_file():
            raise FileNotFoundError(f"model.path={base}: no model (no model_index.json in it)")
        parts = (*NETWORKS, "tokenizer", "scheduler")
        folders = {name: Path(base, name) for name in parts if name in PARTS}
        if Path(base, "references").is_dir():
            folders["references"] = Path(base, "references")
    if config.vae is not None:
        folders["vae"] = Path(config.vae)
    if config.text is not None:
        folders |= {name: Path(config.text, name) for name in ("tokenizer", "text_encoder")}
    for name in ("transformer", "controller", "references"):
        named = getattr(config, name)
        if named is not None:
            run = Path(named, "checkpoints").is_dir()
            folders[name] = newest_weights(named, name, config.unfinished) if run else Path(named)
    for name, key in (("vae", "vae"), ("tokenizer", "text")):
        if name not in folders:
            raise ValueError(f"no source for the {name}; set {key}= or model.path=")
    return folders


def read_parts(config: MakeModelConfig, folders: Mapping[str, Path]) -> dict[str, Any]:
    """The components of the model, networks in float32.

    Args:
        config: describes new components.
        folders: sources of the others.

    Raises:
        ValueError: components that do not fit each other.
        FileNotFoundError: a folder without its component.
    """
    parts = {name: load_part(name, folder) for name, folder in folders.items() if name in PARTS}
    parts["references"] = None
    if "references" in folders:
        parts["references"] = load_reference_network(folders["references"])
    tokenizer, text_encoder = parts["tokenizer"], parts["text_encoder"]
    if "transformer" not in parts:
        if tokenizer.model_max_length > MOST_TOKENS:
            raise ValueError(
                f"{folders['tokenizer']} does not say how many tokens a prompt has; save it with a "
                "model_max_length"
            )
        width, tokens = text_encoder.config.d_model, tokenizer.model_max_length
        parts["transformer"] = small_backbone(
            config.backbone, parts["vae"], width, tokens, config.seed
        )
    backbone = parts["transformer"]
    if "controller" not in parts:
        parts["controller"] = _new_controller(config, backbone)
    family = family_of(backbone)
    parts.setdefault("scheduler", noise_schedule(family.name))
    wants, has = family.sizes(backbone).text_dim, text_encoder.config.d_model
    if wants != has:
        raise ValueError(f"the backbone takes text features {wants} wide, the encoder's are {has}")
    for name, kind in family.parts.items():
        if not isinstance(parts[name], kind):
            raise ValueError(
                f"the backbone is a {type(backbone).__name__}, which requires a {kind.__name__}, "
                f"but {folders.get(name, name)} contains a {type(parts[name]).__name__}"
            )
    # The constructor refuses components that do not fit.
    Denoiser(backbone, parts["controller"], parts["references"])
    pipe = pipeline_of(family.name)(**parts)
    return {name: getattr(pipe, name) for name in parts}


def refuse_in_vain(
    config: MakeModelConfig, folders: Mapping[str, Path], parts: Mapping[str, Any]
) -> None:
    """Refuses values of `backbone` and `weaving` that differ from those of a loaded component.

    Raises:
        ValueError: the message names the first such value, and the component's.
    """
    # Options left at their defaults are not checked.
    untold = [MakeModelConfig(), load_config(MakeModelConfig, (), DEFAULT)]
    for section, part, names in (
        ("backbone", "transformer", BACKBONE_NAMES),
        ("weaving", "controller", WEAVING_NAMES),
    ):
        if part not in folders:
            continue
        described, network = getattr(config, section), parts[part]
        own = network.config
        if part == "transformer":
            own = vars(family_of(network).sizes(network))
        for option, name in names.items():
            stated = getattr(described, option)
            others = [getattr(getattr(one, section), option) for one in untold]
            has = own.get(name)
            if stated not in (has, *others):
                raise ValueError(
                    f"{section}.{option}={stated}, but the {part} comes from {folders[part]} and "
                    f"has {has}; leave it out, or set {part}=null (and model.path=null) to make a "
                    "new one"
                )


def _new_controller(config: MakeModelConfig, backbone: nn.Module) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return make_controller(backbone, options=ControllerOptions(**vars(config.weaving)))


def _made(config: MakeModelConfig, folders: Mapping[str, Path]) -> dict[str, Any]:
    """What the folder depends on: options, and digests of the weights in the named folders."""
    options = {k: v for k, v in flat(config).items() if k not in ("output", "unfinished")}
    options = dict(item for item in options.items() if item not in ADDED_LATER.items())
    # Existing folders use this key.
    options["model"] = options.pop("model.path")
    weights = {name: weights_digest(folder) for name, folder in sorted(folders.items())}
    if config.card is not None:
        weights["card"] = hashlib.sha256(Path(config.card).read_bytes()).hexdigest()[:16]
    return {"options": options, "weights": weights}


def _size(network: nn.Module) -> str:
    count = sum(p.numel() for p in network.parameters())
    return f"{count / 1e6:.2f} M parameters, {2 * count / 1e6:.2f} MB in float16"


COMMAND = Command(main, MakeModelConfig, DEFAULT)

if __name__ == "__main__":
    COMMAND.run()

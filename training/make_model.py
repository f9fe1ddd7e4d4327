r"""Assemble a model folder from trained parts, and new ones where there are none yet.

    python -m training.make_model                     # anchorweave-tiny before its training
    python -m training.make_model config=configs/anchorweave_tiny/export.yaml
    python -m training.make_model model.path=outputs/anchorweave_tiny/model output=outputs/mine \
        transformer=outputs/my_backbone dtype=float16

Writes to `output` a folder for `AnchorWeavePipeline.from_pretrained`, and made.json: what it was
made from. Running it again leaves an existing folder unchanged, and rejects one that was made from
something else.
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
# Options added after folders had been made, with values equivalent to the old behaviour.
ADDED_LATER = {"weaving.holes": "black", "weaving.every": 1, "weaving.coverage": False}
# Options -> their names in `BackboneSizes`, and in a controller's own config.
BACKBONE_NAMES = {
    "layers": "num_layers",
    "heads": "num_heads",
    "head_channels": "head_dim",
    "time_channels": "time_embed_dim",
    "patch_size": "patch_size",
}
WEAVING_NAMES = TRAINED_WITH | {"tokens": "tokens", "holes": "holes"}
# Longer than any prompt; tokenizers without a configured length report 10^30.
MOST_TOKENS = 10_000
NETWORKS = ("text_encoder", "vae", "transformer", "controller", "references")


@dataclass(frozen=True)
class WeavingConfig:
    """A new controller.

    Args:
        layers: number of backbone layers with a controller layer.
        heads: attention heads.
        fusion: `pose_guided` or `average`.
        attention: `joint` or `separate`.
        tokens: `all` or `visible`.
        holes: holes of the anchors it will be trained on: `black`, `cracks` or `filled`.
        every: spacing of these layers, from the first on.
        coverage: whether each token's input includes the fraction of its pixels that was seen.
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
    """The model folder that unspecified parts are taken from.

    Args:
        path: the folder; null = none.
    """

    path: str | None = None


@dataclass(frozen=True)
class MakeModelConfig:
    """What a model folder is made of.

    Args:
        output: the folder.
        model: source of every part that is not specified.
        vae: folder of the autoencoder; null = the base's.
        text: folder with tokenizer/ and text_encoder/; null = the base's.
        transformer: folder of the backbone, or of a training run, meaning the averaged weights of
            its newest checkpoint; null = the base's, and without a base a new one.
        controller: likewise for the controller.
        references: likewise for the reference network; null = the base's, or none.
        unfinished: whether to accept a run that has not finished.
        dtype: precision of stored weights.
        seed: seed of new weights.
        card: a model card to copy as README.md; null = none.
        note: a note about the weights; null = none.
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
    """Make the folder with `a.b=c` overrides."""
    config = load_config(MakeModelConfig, words, DEFAULT)
    with making(config.output):
        make(config)


def make(config: MakeModelConfig) -> None:
    """Makes the folder, unless it exists already, made from the same parts.

    Raises:
        FingerprintError: it exists, made from other parts.
        ValueError: parts that do not fit together.
    """
    output, folders = Path(config.output), part_folders(config)
    made = _made(config, folders)
    if (output / MADE).is_file():
        existing = json.loads((output / MADE).read_text())
        check_made(output, flat(existing), flat(made), "remove it, or name another output")
        return print(f"{output} is there already, made of the same parts")
    parts = read_parts(config, folders)
    refuse_in_vain(config, folders, parts)
    for name in (n for n in NETWORKS if parts[n] is not None):
        print(f"{name}: {_size(parts[name])}, {folders.get(name, 'new')}", flush=True)
        # Use torch's own method: the libraries' versions skip some layers, or print messages.
        nn.Module.to(parts[name], getattr(torch, config.dtype))
    files = {MADE: json.dumps(made, indent=1) + "\n"}
    if config.card is not None:
        files[CARD] = Path(config.card).read_text()
    write_model(output, parts, config.note, files)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    print(f"{output}: {size / 1e6:.2f} MB in {config.dtype}")


def part_folders(config: MakeModelConfig) -> dict[str, Path]:
    """Source folder of each part, by name; new parts are not included.

    Raises:
        ValueError: a part without a source.
        FileNotFoundError: a base that is not a model folder, or a run without the part.
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
            raise ValueError(
                f"nothing says where the {name} comes from; name a {key}= or a model.path="
            )
    return folders


def read_parts(config: MakeModelConfig, folders: Mapping[str, Path]) -> dict[str, Any]:
    """The parts of the model, networks in float32.

    Args:
        config: architecture of new parts.
        folders: source folders of the others.

    Raises:
        ValueError: parts that do not fit together.
        FileNotFoundError: a folder without its part.
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
        raise ValueError(f"the backbone takes text features {wants} wide, the encoder makes {has}")
    for name, kind in family.parts.items():
        if not isinstance(parts[name], kind):
            raise ValueError(
                f"the backbone is a {type(backbone).__name__}, which goes with a {kind.__name__}, "
                f"but {folders.get(name, name)} holds a {type(parts[name]).__name__}"
            )
    # Raises for parts that do not fit.
    Denoiser(backbone, parts["controller"], parts["references"])
    pipe = pipeline_of(family.name)(**parts)
    return {name: getattr(pipe, name) for name in parts}


def refuse_in_vain(
    config: MakeModelConfig, folders: Mapping[str, Path], parts: Mapping[str, Any]
) -> None:
    """Rejects explicit values of `backbone` and `weaving` that contradict a loaded part.

    Raises:
        ValueError: names the first such value, and the part's.
    """
    # Default values were not requested explicitly.
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
            others = [getattr(getattr(defaults, section), option) for defaults in untold]
            has = own.get(name)
            if stated not in (has, *others):
                raise ValueError(
                    f"{section}.{option}={stated}, but the {part} comes from {folders[part]} and "
                    f"has {has}; leave it out, or let {part}=null (and model.path=null) make a "
                    "new one"
                )


def _new_controller(config: MakeModelConfig, backbone: nn.Module) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return make_controller(backbone, options=ControllerOptions(**vars(config.weaving)))


def _made(config: MakeModelConfig, folders: Mapping[str, Path]) -> dict[str, Any]:
    """Everything the folder depends on: options, and the weights in the folders they name."""
    options = {k: v for k, v in flat(config).items() if k not in ("output", "unfinished")}
    options = dict(item for item in options.items() if item not in ADDED_LATER.items())
    # The key that existing folders use.
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

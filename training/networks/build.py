"""The networks of a training run: trained ones in float32, frozen ones in reduced precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from anchorweave.datasets.training_clip import TrainingClip
from anchorweave.diffusion.process import NoiseProcess
from anchorweave.models.backbones import family_of
from anchorweave.models.checkpointing import kept_parts, recompute
from anchorweave.models.compilation import compile_blocks
from anchorweave.models.controller import WeavingController
from anchorweave.models.denoiser import Denoiser, check_preceding
from anchorweave.models.loading import ModelParts
from anchorweave.models.precision import computing_dtype
from anchorweave.models.small.tiny_models import video_of
from anchorweave.models.weaving.make_controller import make_controller
from anchorweave.models.weaving.released_file import is_released_file
from training.networks.new import (
    START,
    TRAINED_WITH,
    new_controller,
    reference_network,
    refuse_contradiction,
)
from training.options.networks import NetworkConfig
from training.options.training import TrainConfig


@dataclass(frozen=True)
class Networks:
    """Denoiser and related objects.

    Args:
        denoiser: backbone, controller and reference network, if any; trained parameters are
            float32.
        process: the noise process.
        positions: the backbone's position input for latents of the clips' size, or None.
        dtype: the backbone's dtype.
        parts: for the VAE, if one is needed.
    """

    denoiser: Denoiser
    process: NoiseProcess
    positions: tuple[Tensor, ...] | None
    dtype: torch.dtype
    parts: ModelParts


def build_networks(
    config: TrainConfig, clip: TrainingClip, device: torch.device | str = "cpu"
) -> Networks:
    """Builds everything that `config.model` describes, for clips of the size of `clip`; on the CPU.

    Args:
        config: config of the training.
        clip: any of its clips.
        device: where the networks will compute, which determines precision=auto.

    Raises:
        ValueError: weights that do not fit together, or contradict the clip or the options.
        FileNotFoundError: no model at `model.path`, or no controller.
    """
    t, _, h, w = clip.latents.shape
    network = config.model
    # A model folder knows its own sizes.
    parts = ModelParts(network.path, *video_of(network.path, (t, h, w)))
    # Frozen weights need no more precision than the computation.
    frozen = network.train_backbone != "full"
    dtype = computing_dtype(config.precision, device) if frozen else torch.float32
    backbone = parts.backbone(dtype)
    _check_clip(backbone, clip)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        controller = _controller(network, backbone, clip.holes)
        if controller is not None:
            _check_holes(controller, clip)
        references = reference_network(network, backbone)
        check_preceding(references, clip.preceding is not None)
        if network.train_backbone == "lora":
            add_lora(backbone, network.lora_rank, network.lora_alpha)
    if controller is not None:
        controller.requires_grad_(network.train_controller)
    if network.train_backbone != "lora":
        backbone.requires_grad_(network.train_backbone == "full")
    if references is not None:
        references.requires_grad_(network.train_references)
    denoiser = Denoiser(backbone, controller, references).train()
    for parameter in denoiser.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if network.gradient_checkpointing:
        keep_backbones, keep_controllers = kept_parts(network.kept)
        recompute(backbone, keep_backbones)
        if controller is not None:
            recompute(controller, keep_controllers)
        if references is not None:
            references.enable_gradient_checkpointing()
    if network.compile == "regional":
        compile_blocks(backbone, controller)
    positions = denoiser.family.positions(backbone, (t, h, w))
    return Networks(denoiser, parts.process(), positions, dtype, parts)


def add_lora(backbone: nn.Module, rank: int, alpha: int) -> None:
    """Adds a low-rank adapter to the attention of every block of the backbone; freezes the rest."""
    # Imported here, because peft is slow to import.
    from peft import LoraConfig

    backbone.requires_grad_(False)
    targets = family_of(backbone).lora_targets
    backbone.add_adapter(
        LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights=True, target_modules=list(targets))
    )


def trained(denoiser: nn.Module) -> dict[str, nn.Parameter]:
    """The trained parameters, by name, in a fixed order."""
    return {name: p for name, p in denoiser.named_parameters() if p.requires_grad}


def _controller(
    network: NetworkConfig, backbone: nn.Module, holes: str
) -> WeavingController | None:
    """The controller described by `network`, or None; a new one uses `holes` unless configured."""
    if not network.woven:
        return None
    start = network.controller
    if start is not None and not is_released_file(start):
        # Otherwise the name would be looked up on the hub.
        if not (Path(start) / "config.json").is_file():
            raise FileNotFoundError(
                f"no controller at model.controller={start}: it has no config.json; name a "
                "folder that one was saved to, such as CHECKPOINT/controller"
            )
        controller = make_controller(backbone, start)
        refuse_contradiction(network, TRAINED_WITH, controller.config, "controller")
        for option in ("holes", "tokens"):
            if getattr(network, option) is not None:
                controller.register_to_config(**{option: getattr(network, option)})
        return controller
    if start is not None:
        return new_controller(network, backbone, "black", start)
    return new_controller(network, backbone, holes, START[network.new_controller])


def check_holes(controller: WeavingController | None, holes: Mapping[str, str]) -> None:
    """Rejects data sets whose anchors have other holes than the controller expects.

    Args:
        controller: None = no anchors are read.
        holes: per data set (`Mixture.holes`).

    Raises:
        ValueError: names every data set that differs.
    """
    if controller is None:
        return
    own = controller.config.holes
    if other := [f"{root} has holes={one}" for root, one in holes.items() if one != own]:
        raise ValueError(
            f"the controller is one for anchors with holes={own}, but {', '.join(other)}; "
            "precompute all data sets of a mixture with one kind of holes"
        )


def _check_holes(controller: WeavingController, clip: TrainingClip) -> None:
    own = controller.config.holes
    if own != clip.holes:
        raise ValueError(
            f"clip {clip.name} has anchors with holes={clip.holes}, the controller is one for "
            f"holes={own}; train with model.holes={clip.holes}, or precompute the clips with "
            f"holes={own}"
        )


def _check_clip(backbone: nn.Module, clip: TrainingClip) -> None:
    sizes = family_of(backbone).sizes(backbone)
    _, C, h, w = clip.latents.shape
    if sizes.latent_channels != C:
        raise ValueError(
            f"clip {clip.name} has latents of {C} channels, the backbone of "
            f"{sizes.latent_channels}; precompute the clips with the VAE of model.path"
        )
    own = sizes.latent_size
    if sizes.learned_positions and own != (h, w):
        raise ValueError(
            f"clip {clip.name} has latents of {h}x{w}, but this backbone learned its positions at "
            f"{own[0]}x{own[1]} (height x width) and accepts no other size"
        )
    if sizes.text_dim != clip.prompt_features.shape[-1]:
        raise ValueError(
            f"clip {clip.name} has text features {clip.prompt_features.shape[-1]} wide, the "
            f"backbone expects {sizes.text_dim}; precompute with the text encoder of model.path"
        )

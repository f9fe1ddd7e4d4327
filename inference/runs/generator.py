"""The networks of a run, as a function from (first frame, retrieved memory, seed) to video."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from anchorweave.anchors import Retrieved
from anchorweave.models.attention_backend import use_attention
from anchorweave.models.compilation import compile_blocks
from anchorweave.models.model_folder import check_parts
from anchorweave.models.notes import UNTRAINED, weights_note
from anchorweave.models.precision import slowness
from anchorweave.models.quiet_loading import quiet_loading
from anchorweave.models.small.tiny_models import TINY, write_tiny_model
from anchorweave.models.whole import refuse_not_finite
from anchorweave.pipelines import WeavingMixin, pipeline_class
from anchorweave.run_config import ModelConfig, RunConfig, SamplingConfig
from anchorweave.world import Generate
from inference.runs.ranks import meet

LORA_FILE = "pytorch_lora_weights.safetensors"
# (first frames B [3, H, W], prompts, retrieved, seeds) -> videos [B, T, 3, H, W] in [0, 1]
GenerateBatch = Callable[
    [Sequence[Tensor], Sequence[str], Sequence[Retrieved], Sequence[int]], Tensor
]


def load_pipeline(config: RunConfig) -> tuple[WeavingMixin, str]:
    """The pipeline described by `config.model`, and a line that says which weights it has.

    Raises:
        ValueError: a device that is not available, weights that do not fit or are not finite, or a
            video length or size that the networks do not support.
        FileNotFoundError: no model at `model.path`.
    """
    model = config.model
    device = _device(model)
    dtype = getattr(torch, model.dtype)
    if about := slowness(dtype, device):
        warnings.warn(f"model.dtype={model.dtype}: {about}", stacklevel=2)
    if model.path in TINY:
        pipe, weights = _tiny(config, dtype)
    else:
        pipe, weights = _load(model, dtype)
    if model.references is not None:
        pipe = pipe.from_backbone(pipe, pipe.controller, references=model.references)
        weights += f", references: {model.references}"
    if model.lora is not None:
        weights += f", adapter: {model.lora}"
        _add_lora(pipe, model.lora)
    if model.tile_vae:
        pipe.vae.enable_slicing()
        pipe.vae.enable_tiling()
    pipe.check_shape(config.frames, *config.size)
    if model.storage == "float8":
        pipe.transformer.enable_layerwise_casting(torch.float8_e4m3fn, compute_dtype=dtype)
    place_networks(pipe, model.offload, device)
    if model.attention_backend != "auto":
        use_attention(pipe.transformer, pipe.controller, model.attention_backend)
    if model.split == "guidance":
        meet()
        pipe.split_guidance()
    if model.compile == "regional":
        compile_blocks(pipe.transformer, pipe.controller)
    return pipe, weights


def place_networks(pipe: WeavingMixin, offload: str, device: str) -> None:
    """Moves the networks to their device, or sets up offloading.

    Args:
        pipe: the pipeline.
        offload: `none`, `model` or `group`.
        device: where to compute.
    """
    if offload == "none":
        pipe.to(device)
    elif offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    else:
        # These parts are used outside a full forward call, which is what brings weights back (the
        # autoencoder only encodes or decodes), and they are small.
        names = ("controller", "references", "vae")
        beside = [name for name in names if getattr(pipe, name, None)]
        pipe.enable_group_offload(
            onload_device=torch.device(device),
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=device.startswith("cuda"),
            exclude_modules=beside,
        )
        for name in beside:
            getattr(pipe, name).to(device)


def make_generator(
    pipe: WeavingMixin,
    config: SamplingConfig,
    prompt: str,
    on_step: Callable[[int], None] | None = None,
) -> Generate:
    """`pipe` as a function (first frame [3, H, W], retrieved, seed) -> video [T, 3, H, W]."""
    generate_batch = make_batch_generator(pipe, config, on_step)
    return lambda first, retrieved, seed: generate_batch([first], [prompt], [retrieved], [seed])[0]


def make_segment_generators(pipe: WeavingMixin, config: RunConfig, prompt: str) -> list[Generate]:
    """A function like `make_generator`'s for each segment of a rollout.

    Args:
        pipe: the shared pipeline.
        config: `rollout.prompts` sets each segment's prompt.
        prompt: the default prompt.
    """
    prompts = config.rollout.prompts or [prompt] * config.rollout.segments
    return [make_generator(pipe, config.sampling, segment_prompt) for segment_prompt in prompts]


def make_batch_generator(
    pipe: WeavingMixin, config: SamplingConfig, on_step: Callable[[int], None] | None = None
) -> GenerateBatch:
    """`pipe` as a function of B first frames, prompts, retrieved and seeds -> videos [B, T, ...].

    Each video has its own noise, so the result does not depend on the rest of the batch.

    Args:
        pipe: the pipeline.
        config: how videos are sampled.
        on_step: called with the number of each completed denoising step, 1, 2, ...; an exception
            raised by it aborts the call.

    Raises (when it is called):
        ValueError: a video with values that are not finite.
    """

    def after_step(pipe, step, timestep, tensors):
        on_step(step + 1)
        return {}

    callback = {} if on_step is None else {"callback_on_step_end": after_step}

    def generate(firsts, prompts, retrieved, seeds):
        height, width = firsts[0].shape[-2:]
        videos = pipe(
            image=firsts,
            prompt=prompts,
            negative_prompt=config.negative_prompt,
            height=height,
            width=width,
            num_frames=len(retrieved[0].target2first),
            retrieved=retrieved,
            num_inference_steps=config.steps,
            guidance_scale=config.guidance,
            use_dynamic_cfg=config.dynamic_guidance,
            control_weight=config.control_weight,
            camera_weight=config.camera_weight,
            control_window=config.control_window,
            visible_first_frame=config.visible_first_frame,
            start=config.start,
            start_share=config.start_share,
            control_every=config.control_every,
            # Noise from the CPU is the same on every machine.
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="pt",
            **callback,
        ).frames
        videos = videos.float().cpu()
        # Written or remembered, NaN would become black.
        if bad := [i for i, video in enumerate(videos) if not video.isfinite().all()]:
            raise ValueError(
                f"{len(bad)} of {len(videos)} videos have values that are not finite: the "
                f"weights are damaged, or {pipe.dtype} is too narrow for them (model.dtype=float32)"
            )
        return videos

    return generate


def _add_lora(pipe: WeavingMixin, folder: str) -> None:
    if not Path(folder, LORA_FILE).is_file():
        raise FileNotFoundError(f"no adapter at model.lora={folder} (no {LORA_FILE} in it)")
    pipe.load_lora_weights(folder)
    refuse_not_finite(pipe.transformer, Path(folder, LORA_FILE))


def _device(model: ModelConfig) -> str:
    device = model.device
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ValueError(f"model.device={device} is none of auto, cpu, cuda, cuda:N")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"model.device={device}, but this machine has no CUDA GPU; use cpu")
    if model.offload != "none" and not device.startswith("cuda"):
        raise ValueError(f"model.offload={model.offload} needs a CUDA GPU; set model.offload=none")
    return device


def _tiny(config: RunConfig, dtype: torch.dtype) -> tuple[WeavingMixin, str]:
    with tempfile.TemporaryDirectory() as folder, quiet_loading():
        path = Path(folder) / "tiny"
        write_tiny_model(config.model.path, path, config.frames, config.size)
        pipe = pipeline_class(path)[0].from_pretrained(path, dtype=dtype)
    if (controller := config.model.controller) is None:
        return pipe, f"weights: {UNTRAINED}"
    # Training with model.path=tiny uses exactly these networks.
    pipe = pipe.from_backbone(pipe, controller, config.model.released_weights)
    return pipe, f"weights: {UNTRAINED} backbone, weaving controller: {controller}"


def _load(model: ModelConfig, dtype: torch.dtype) -> tuple[WeavingMixin, str]:
    index = Path(model.path) / "model_index.json"
    if not index.is_file():
        raise FileNotFoundError(
            f"no model at model.path={model.path} (no model_index.json in it); "
            "pretrained/README.md says which weights go where"
        )
    check_parts(model.path)
    kind, whole = pipeline_class(model.path)
    note = weights_note(model.path)
    weights = f"weights: {note + ', from ' if note else ''}{model.path}"
    if whole and model.controller is None:
        return kind.from_pretrained(model.path, dtype=dtype), weights
    pipe = kind.from_backbone(model.path, model.controller, model.released_weights, dtype=dtype)
    controller = model.controller or "new (untrained: it has no effect)"
    return pipe, f"{weights}, weaving controller: {controller}"

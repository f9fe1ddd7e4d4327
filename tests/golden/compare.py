"""Compare our networks with tensors recorded from the released code.

    python -m tests.golden.compare FILE

prints one line of JSON: the largest absolute error of every output. FILE is a safetensors file with
`controller.*` and `backbone.*` state dicts under the released names, `inputs.*`, `outputs.*`, and
both constructors' arguments as JSON in its metadata. A file without the backbone's arguments is
compared on the controller alone; its entries for the backbone are null.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from diffusers import CogVideoXTransformer3DModel
from safetensors import SafetensorError, safe_open
from torch import Tensor

from anchorweave.anchors import AnchorLatents
from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.weaving.released_weights import load_released_state
from anchorweave.models.weaving.visible_tokens import visible_tokens

# released argument -> ours
ARGUMENTS = {
    "num_attention_heads": "num_heads",
    "attention_head_dim": "head_dim",
    "num_layers": "num_layers",
    "out_proj_dim": "backbone_dim",
    "time_embed_dim": "time_embed_dim",
    "text_embed_dim": "text_dim",
    "vae_channels": "latent_channels",
    "patch_size": "patch_size",
    "temporal_compression_ratio": "temporal_compression",
    "spatial_interpolation_scale": "spatial_interpolation_scale",
    "temporal_interpolation_scale": "temporal_interpolation_scale",
}
# Arguments that change no number once the weights are loaded: the released code reads them nowhere,
# or only to size what we make per call.
IDLE = {
    "in_channels",
    "input_channels",
    "use_camera_condition",
    "out_proj_dim_zero_init",
    "max_text_seq_length",
    "sample_width",
    "sample_height",
    "sample_frames",
}
INPUTS = (
    "noisy_latents image_latents prompt_features anchor_latents target_cameras context_cameras "
    "holes visible_tokens timestep"
).split()


def compare(path: str | Path) -> dict[str, float | None]:
    """Largest absolute errors of our outputs against the recorded ones.

    Args:
        path: the recorded file.

    Returns:
        One for each of control, camera, backbone, backbone_without_control and visible_tokens (0 or
        1); None where the file has no backbone.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another format, or tensors that do not fit.
    """
    arguments, groups = _read(Path(path))
    inputs, outputs = groups["inputs"], groups["outputs"]
    controller = _controller(arguments["controller"], groups["controller"], path)
    backbone = _backbone(arguments, groups, path)

    ours = _visible_tokens(inputs, controller.config.patch_size)
    recorded = inputs["visible_tokens"].bool()[:, :, :, 0]
    anchors = AnchorLatents(
        latents=inputs["anchor_latents"],
        visible_tokens=recorded,
        target2source=_homogeneous(inputs["context_cameras"]),
        target2first=_homogeneous(inputs["target_cameras"]),
    )
    noisy, prompt, timestep = (
        inputs[name] for name in ("noisy_latents", "prompt_features", "timestep")
    )
    t, h, w = noisy.shape[1], noisy.shape[3], noisy.shape[4]
    # Without a backbone in the file, one of its shape still makes the rotary table.
    shape = backbone or _backbone_shape(controller, h, w)
    table = family_of(shape).positions(shape, (t, h, w))
    with torch.no_grad():
        control = controller(noisy, prompt, timestep, anchors, table)
        camera = controller.camera_features(anchors.target2first)
        tokens_a_frame = control[0].shape[1] // t
        camera = [feature.repeat_interleave(tokens_a_frame, dim=1) for feature in camera]
        report = {
            "control": _largest("control", control, outputs),
            "camera": _largest("camera", camera, outputs),
            "backbone": None,
            "backbone_without_control": None,
            "visible_tokens": (ours.float() - recorded.float()).abs().max().item(),
        }
        if backbone is not None:
            denoiser = Denoiser(backbone, controller)
            for name, weight in (("backbone", 1.0), ("backbone_without_control", 0.0)):
                predicted = denoiser(
                    noisy,
                    inputs["image_latents"],
                    prompt,
                    timestep,
                    anchors,
                    table,
                    control_weight=weight,
                    camera_weight=weight,
                )
                report[name] = _error(name, predicted, outputs)
    return report


def _read(path: Path) -> tuple[dict[str, dict], dict[str, dict[str, Tensor]]]:
    if not path.is_file():
        raise FileNotFoundError(f"no recorded tensors at {path}")
    groups = {"controller": {}, "backbone": {}, "inputs": {}, "outputs": {}}
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            for key in file.keys():  # noqa: SIM118 (it is no dict)
                group, _, name = key.partition(".")
                if group not in groups:
                    raise ValueError(f"{path}: {key!r} is in none of {', '.join(groups)}")
                groups[group][name] = file.get_tensor(key)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file ({error})") from error
    if "controller" not in metadata:
        raise ValueError(f"{path}: no 'controller' among its metadata keys {sorted(metadata)}")
    if missing := [name for name in INPUTS if name not in groups["inputs"]]:
        raise ValueError(f"{path}: missing inputs {', '.join(missing)}")
    arguments = {
        name: json.loads(metadata[name]) for name in ("controller", "backbone") if name in metadata
    }
    return arguments, groups


def _controller(arguments: dict, state: dict[str, Tensor], path: str | Path) -> WeavingController:
    if unknown := sorted(arguments.keys() - ARGUMENTS.keys() - IDLE):
        raise ValueError(f"{path}: controller arguments not known here: {', '.join(unknown)}")
    controller = WeavingController(
        **{ARGUMENTS[name]: value for name, value in arguments.items() if name in ARGUMENTS}
    )
    load_released_state(state, controller, where=f"{path} (controller.*)")
    return controller.eval()


def _backbone(arguments: dict, groups: dict, path) -> CogVideoXTransformer3DModel | None:
    if "backbone" not in arguments:
        return None
    backbone = CogVideoXTransformer3DModel(**arguments["backbone"])
    try:
        backbone.load_state_dict(groups["backbone"])
    except RuntimeError as error:
        raise ValueError(f"{path} (backbone.*): {error}") from error
    return backbone.eval()


def _backbone_shape(controller: WeavingController, h: int, w: int) -> CogVideoXTransformer3DModel:
    config = controller.config
    with torch.device("meta"):
        return CogVideoXTransformer3DModel(
            num_layers=1,
            num_attention_heads=1,
            attention_head_dim=config.head_dim,
            patch_size=config.patch_size,
            sample_height=h,
            sample_width=w,
            use_rotary_positional_embeddings=config.rotary,
        )


def _visible_tokens(inputs: dict[str, Tensor], patch: int) -> Tensor:
    seen = inputs["holes"] == 0
    # The holes start at frame 1: the released rule never looks at frame 0.
    seen = torch.cat([torch.zeros_like(seen[..., :1, :, :]), seen], dim=-3)
    height = inputs["noisy_latents"].shape[3] // patch
    frames = inputs["noisy_latents"].shape[1] - 1
    return visible_tokens(
        seen,
        spatial=seen.shape[-2] // height,
        temporal=(seen.shape[-3] - 1) // frames,
        first_frame="always",
    )


def _homogeneous(pose: Tensor) -> Tensor:
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(*pose.shape[:-2], 1, 4)
    return torch.cat([pose, bottom], dim=-2)


def _largest(name: str, values: list[Tensor], outputs: dict[str, Tensor]) -> float:
    errors = [_error(f"{name}.{i}", value, outputs) for i, value in enumerate(values)]
    return torch.tensor(errors).max().item()  # unlike Python's max, it keeps a NaN


def _error(name: str, value: Tensor, outputs: dict[str, Tensor]) -> float:
    if name not in outputs or outputs[name].shape != value.shape:
        met = tuple(outputs[name].shape) if name in outputs else "nothing"
        raise ValueError(f"outputs.{name}: expected {tuple(value.shape)}, the file holds {met}")
    return (value - outputs[name]).abs().max().item()


def main(arguments: list[str]) -> int:
    """Prints the report; a user's mistake becomes one line instead of a traceback."""
    if len(arguments) != 1:
        print("usage: python -m tests.golden.compare FILE", file=sys.stderr)
        return 2
    try:
        print(json.dumps(compare(arguments[0])))
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

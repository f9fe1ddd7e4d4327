"""All scores of one video, from its pixels and its estimated cameras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from anchorweave.evaluation.camera_estimate import EstimationConfig
from anchorweave.evaluation.image_metrics import psnr, ssim, ssim_of_parts
from anchorweave.evaluation.motion import motion_agreement, motion_energy
from anchorweave.evaluation.return_path import paired_frames, same_pose
from inference.evaluation.cached_row import WAY_OUT, EvaluationTarget
from inference.evaluation.camera_scores import KeptCameras, camera_values
from inference.evaluation.protocols import rolls_out


def video_values(
    video: Float[Tensor, "T 3 H W"],
    given: EvaluationTarget,
    made: dict[str, Any],
    kept: KeptCameras | None,
    cameras: EstimationConfig | None,
) -> tuple[dict[str, float], tuple[float, ...]]:
    """Every metric that applies to the video, and PSNR in dB of its parts (`Score.parts`).

    Args:
        video: colours in [0, 1].
        given: its clip's evaluation target.
        made: what its row was made with.
        kept: its estimated cameras; None = no camera metrics.
        cameras: options of their estimation.

    Raises:
        FileNotFoundError: cameras were not estimated.
    """
    loop = rolls_out(made["protocol"])
    values = _loop_values(video, given) if loop else _revisit_values(video, given)
    if given.truth is not None:
        motion = {
            "motion_energy": motion_energy(video, given.truth),
            "motion_agreement": motion_agreement(video, given.truth),
        }
        values |= {name: value for name, value in motion.items() if value is not None}
    if kept is not None:
        estimated = kept.read(cameras)
        if estimated is None:
            raise FileNotFoundError(f"{kept.path}: the cameras of this video were not estimated")
        values |= camera_values(estimated, given, cameras)
    return values, _parts(video, given, made["frames"] - 1 if loop else 1)


def comes_back(given: EvaluationTarget) -> bool:
    """Whether the path of a rollout ends where it began, so that its ends can be compared."""
    # Rows without stored cameras were made when every path returned.
    return given.cameras is None or same_pose(given.cameras.c2w, 0, -1)


def _revisit_values(video: Float[Tensor, "T 3 H W"], given: EvaluationTarget) -> dict[str, float]:
    """Frame 0 is given to the model, so measuring starts at frame 1."""
    video, truth = video[1:], given.truth[1:]
    parts = {"": None, "_shown": given.shown[1:], "_only_memory": given.only_memory[1:]}
    values = {f"psnr{name}": psnr(video, truth, part) for name, part in parts.items()}
    similar = ssim_of_parts(video, truth, list(parts.values()))
    values |= {f"ssim{name}": value for name, value in zip(parts, similar, strict=True)}
    return {name: value for name, value in values.items() if value is not None}


def _loop_values(video: Float[Tensor, "T 3 H W"], given: EvaluationTarget) -> dict[str, float]:
    values = {}
    if comes_back(given):
        values |= {"psnr_loop": psnr(video[-1], video[0])}
        values |= {"ssim_loop": ssim(video[-1:], video[:1])}
    pairs = [] if given.cameras is None else paired_frames(given.cameras.c2w)
    if pairs:
        out, back = (video[list(frames)] for frames in zip(*pairs, strict=True))
        values |= {"psnr_paired": psnr(back, out), "ssim_paired": ssim(back, out)}
    if given.truth is not None:
        values |= {"psnr": psnr(video[1:], given.truth[1:])}
        values |= {"ssim": ssim(video[1:], given.truth[1:])}
    return values


def _parts(video: Tensor, given: EvaluationTarget, length: int) -> tuple[float, ...]:
    """PSNR of every `length` frames after the first one."""
    if given.truth is None:
        return ()
    starts: Sequence[int] = range(1, len(video), length)
    return tuple(psnr(video[s : s + length], given.truth[s : s + length]) for s in starts)


def check_shape(video: Tensor, made: dict[str, Any], where: str) -> None:
    """Checks a video without a fingerprint by its length and size.

    Raises:
        ValueError: they do not match the row.
    """
    segment, count = made["frames"] - 1, len(video) - 1
    fits = count % segment == 0 if rolls_out(made["protocol"]) else count == segment
    if not fits or list(video.shape[-2:]) != list(made["size"]):
        raise ValueError(
            f"{where} has {len(video)} frames of {list(video.shape[-2:])}, but the row says "
            f"frames={made['frames']} size={list(made['size'])} protocol={made['protocol']}; "
            f"{WAY_OUT}"
        )

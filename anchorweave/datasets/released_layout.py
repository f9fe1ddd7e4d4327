"""The authors' released data layout, read unchanged.

    ROOT/train.txt, test.txt                          clip names, one per line
    ROOT/CLIP/latents_cogvideox/GT.pt                 scaled latents [1, C, t, h, w] of the target
    ROOT/CLIP/latents_cogvideox/SLOT.pt               and of the anchors 1st_frame, retrieval_1..3
    ROOT/CLIP/masks/SLOT_mask.npz                     `mask` [T, H, W], 1 = visible
    ROOT/CLIP/relative_cameras/SLOT.npz               `pose` [T, 3, 4]; 1st_frame: target2first
    ROOT/CLIP/caption_embs_cogvideox/caption.pt       text features [1, S, D]

Source: the released code's data set (papers' section on data); it ships without data.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from einops import reduce
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from anchorweave.datasets.layout import BadClip, read_quarantine, reading
from anchorweave.datasets.training_clip import TrainingClip, training_clip

FIRST = "1st_frame"
SLOTS = (FIRST, "retrieval_1", "retrieval_2", "retrieval_3")


class ReleasedClips(Dataset):
    """Clips in the authors' layout, as input to training.

    Poses are returned as stored: the released data are not in scene units. The image condition is
    the target's first latent frame. Visible tokens follow the released rule: a token is a hole if
    more than half of its pixels are, and latent frame 0 is always visible.

    Args:
        root: the data set's folder.
        split: which list of clips, `train` or `test`.
        slots: which anchors, in order; empty for training only a backbone.
        quarantine: clips to exclude, as in `LatentClips`.

    Raises:
        ValueError: there are no clips; the message says why.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        slots: Sequence[str] = SLOTS,
        quarantine: Mapping[str, str] | None = None,
    ):
        self.root, self.slots = Path(root), tuple(slots)
        path = self.root / f"{split}.txt"
        if not path.is_file():
            raise ValueError(f"{root}: 0 clips, because the list {path.name} is missing")
        names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        listed = read_quarantine(root) if quarantine is None else quarantine
        self.quarantined = {name: listed[name] for name in names if name in listed}
        self.clips = [self.root / name for name in names if name not in listed]
        if not self.clips:
            raise ValueError(
                f"{root}: 0 clips; {path.name} lists {len(names)}, of which "
                f"{len(self.quarantined)} are in quarantine"
            )

    def __len__(self) -> int:
        return len(self.clips)

    def holes(self) -> str:
        """How holes of the anchors were filled: the authors' are black."""
        return "black"

    def __getitem__(self, index: int) -> TrainingClip:
        """One clip, float32.

        Raises:
            BadClip: a file is missing, unreadable, not finite, or inconsistent with the others.
        """
        clip = self.clips[index]
        target = _latents(clip, "GT")
        frames = 4 * (len(target) - 1) + 1
        grid = (target.shape[-2] // 2, target.shape[-1] // 2)
        anchors = [_latents(clip, slot) for slot in self.slots]
        visible = [_visible_tokens(clip, slot, frames, grid) for slot in self.slots]
        poses = [_poses(clip, slot, frames) for slot in self.slots]
        return training_clip(
            clip,
            latents=target,
            image_latents=target[:1],
            prompt_features=_tensor(clip, "caption_embs_cogvideox/caption.pt")[0],
            anchor_latents=_stacked(clip, anchors, tuple(target.shape)),
            visible_tokens=_stacked(clip, visible, (len(target), *grid)).bool(),
            target2source=_stacked(clip, poses, (frames, 4, 4)),
            target2first=_poses(clip, FIRST, frames),
            # Their data set contains only anchors.
            reference_latents=target[:0],
            reference2first=torch.zeros(0, 4, 4),
        )


def _latents(clip: Path, name: str) -> Float[Tensor, "t C h w"]:
    latents = _tensor(clip, f"latents_cogvideox/{name}.pt")
    if latents.ndim != 5 or len(latents) != 1:
        raise BadClip(clip, f"{name}.pt is {tuple(latents.shape)}, expected [1, C, t, h, w]")
    return latents[0].transpose(0, 1).contiguous()


def _tensor(clip: Path, file: str) -> Tensor:
    try:
        with reading(clip, file), warnings.catch_warnings():
            # torch warns about its own legacy formats; only the loaded value matters.
            warnings.simplefilter("ignore")
            tensor = torch.load(clip / file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise BadClip(clip, f"{file} cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(tensor, Tensor):
        raise BadClip(clip, f"{file} holds a {type(tensor).__name__}, expected one tensor")
    if not tensor.isfinite().all():
        raise BadClip(clip, f"{file} has values that are not finite")
    return tensor.float()


def _array(clip: Path, file: str, key: str, frames: int) -> Tensor:
    """The array of an npz file, resampled evenly to the frames that the latents represent."""
    with reading(clip, file), np.load(clip / file) as stored:
        array = torch.from_numpy(stored[key])
    if len(array) < frames:
        raise BadClip(clip, f"{file} has {len(array)} frames, the latents represent {frames}")
    if not array.isfinite().all():
        raise BadClip(clip, f"{file} has values that are not finite")
    return array[torch.from_numpy(np.linspace(0, len(array) - 1, frames, dtype=int))]


def _poses(clip: Path, slot: str, frames: int) -> Float[Tensor, "T 4 4"]:
    file = f"relative_cameras/{slot}.npz"
    stored = _array(clip, file, "pose", frames).float()
    if stored.shape[1:] != (3, 4):
        raise BadClip(clip, f"{file} holds {tuple(stored.shape)}, expected [T, 3, 4]")
    poses = torch.eye(4).repeat(frames, 1, 1)
    poses[:, :3] = stored
    return poses


def _visible_tokens(
    clip: Path, slot: str, frames: int, grid: tuple[int, int]
) -> Bool[Tensor, "t h2 w2"]:
    file = f"masks/{slot}_mask.npz"
    holes = 1 - _array(clip, file, "mask", frames).float()
    if holes.ndim != 3 or holes.shape[1] % grid[0] or holes.shape[2] % grid[1]:
        raise BadClip(
            clip, f"{file} is {tuple(holes.shape)}; it does not divide into {grid} tokens"
        )
    share = reduce(holes[1:], "(t a) (h b) (w c) -> t h w", "mean", a=4, h=grid[0], w=grid[1])
    return torch.cat([torch.ones(1, *grid, dtype=torch.bool), ~(share > 0.5)])


def _stacked(clip: Path, parts: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Stacks the parts; without any, an empty tensor of `shape`."""
    if not parts:
        return torch.zeros(0, *shape)
    if len({part.shape for part in parts}) > 1:
        raise BadClip(clip, f"anchors differ in shape: {[tuple(part.shape) for part in parts]}")
    return torch.stack(parts)

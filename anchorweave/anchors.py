"""The interface between geometry and generation: what a memory system passes to the networks.

The only file that both halves import. What is written to disk between retrieval and training is
exactly what is defined here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.batched import Batched
from anchorweave.geometry.cameras import Cameras


@dataclass(frozen=True)
class Anchors:
    """N anchor videos: memories rendered along the target cameras (paper section 3.3).

    Slots are aligned by index, not by identity: slot k may show a different memory in every chunk.

    Args:
        video: colours [N, T, 3, H, W] in [0, 1], black where nothing was seen.
        visible: [N, T, H, W], True where a pixel was actually seen.
        target2source: [N, T, 4, 4], the target camera relative to the camera of the memory shown.
    """

    video: Float[Tensor, "N T 3 H W"]
    visible: Bool[Tensor, "N T H W"]
    target2source: Float[Tensor, "N T 4 4"]

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, slots: slice | Sequence[int]) -> Anchors:
        return Anchors(self.video[slots], self.visible[slots], self.target2source[slots])

    def padded(self, slots: int) -> Anchors:
        """These anchors padded to `slots` with black, invisible ones at the identity pose."""
        if slots == len(self):
            return self
        return stack_anchors([self, empty_anchors(slots - len(self), self.video.shape[1:])])


@dataclass(frozen=True)
class References:
    """R unmodified frames, as reference views.

    Args:
        frames: colours [R, 3, H, W] in [0, 1].
        cameras: their cameras [R], in the world of the memory.
        reference2first: [R, 4, 4], these cameras relative to the first target camera.
    """

    frames: Float[Tensor, "R 3 H W"]
    cameras: Cameras
    reference2first: Float[Tensor, "R 4 4"]

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class Preceding:
    """The P frames preceding the target, as one clip, and the memory rendered at their cameras.

    Args:
        frames: colours [P, 3, H, W] in [0, 1], the newest last.
        anchors: memory rendered at these frames' cameras, with as many slots as the target's
            anchors.
        preceding2first: [P, 4, 4], these cameras relative to the first target camera.
    """

    frames: Float[Tensor, "P 3 H W"]
    anchors: Anchors
    preceding2first: Float[Tensor, "P 4 4"]


@dataclass(frozen=True)
class Pick:
    """Why one memory fills one anchor slot of one chunk.

    Args:
        slot: which anchor, 0..N-1.
        memory: which memory of the bank, 0..M-1.
        name: name of its frame in its recording.
        gain: newly covered pixels over all pixels of the chunk, in [0, 1].
        coverage: covered pixels over all pixels after this pick, in [0, 1].
        forced: True for a memory that gets its slot regardless of coverage: the first frame's, or
            one of SPMem's last frames.
    """

    slot: int
    memory: int
    name: str
    gain: float
    coverage: float
    forced: bool = False


@dataclass(frozen=True)
class ChunkReport:
    """What was retrieved for target frames [start, stop), from how many, and why it stopped."""

    start: int
    stop: int
    pool: int
    picks: tuple[Pick, ...]
    stopped: str


@dataclass(frozen=True)
class Retrieved:
    """Everything that a memory system retrieved for T target cameras.

    Args:
        anchors: N >= 0 rendered memories.
        references: R >= 0 reference frames.
        target2first: [T, 4, 4], each target camera relative to the first one ("camera 0").
        report: one entry per chunk of target frames.
        unit: length of its unit in the recording's unit (`in_unit`); None = lengths are in the
            recording's own unit, which the networks do not accept.
        preceding: the preceding frames as one clip; None = none.
    """

    anchors: Anchors
    references: References
    target2first: Float[Tensor, "T 4 4"]
    report: tuple[ChunkReport, ...] = field(default=())
    unit: float | None = None
    preceding: Preceding | None = None

    def in_unit(self, unit: float) -> Retrieved:
        """The same with lengths divided by `unit`, which removes the scene's scale.

        The released code uses translations as they are, and the paper does not say; we divide by
        the median valid depth of the first frame.

        Raises:
            ValueError: a unit that is not positive and finite, or lengths that were already
                converted.
        """
        if self.unit is not None:
            raise ValueError(f"lengths are measured in {self.unit} already; call in_unit once")
        if not 0 < unit < float("inf"):
            raise ValueError(f"a unit of length must be positive and finite, got {unit}")

        def scaled(anchors: Anchors) -> Anchors:
            poses = scale_translation(anchors.target2source, 1 / unit)
            return replace(anchors, target2source=poses)

        preceding = self.preceding
        if preceding is not None:
            poses = scale_translation(preceding.preceding2first, 1 / unit)
            preceding = Preceding(preceding.frames, scaled(preceding.anchors), poses)
        return replace(
            self,
            anchors=scaled(self.anchors),
            preceding=preceding,
            references=replace(
                self.references,
                reference2first=scale_translation(self.references.reference2first, 1 / unit),
            ),
            target2first=scale_translation(self.target2first, 1 / unit),
            unit=unit,
        )


@dataclass(frozen=True)
class AnchorLatents(Batched):
    """A batch of `Retrieved` in the controller's input format.

    Args:
        latents: VAE latents of the anchor videos, scaled [B, N, t, C, h, w].
        visible_tokens: [B, N, t, h//2, w//2], True where a token shows seen pixels.
        target2source: [B, N, T, 4, 4], translations in scene units.
        target2first: [B, T, 4, 4], likewise.
        coverage: [B, N, t, h//2, w//2], fraction of each token's pixels that were seen, in [0, 1];
            None = unknown, as for released data.
    """

    latents: Float[Tensor, "B N t C h w"]
    visible_tokens: Bool[Tensor, "B N t h2 w2"]
    target2source: Float[Tensor, "B N T 4 4"]
    target2first: Float[Tensor, "B T 4 4"]
    coverage: Float[Tensor, "B N t h2 w2"] | None = None

    @classmethod
    def in_sequence(cls, parts: Sequence[AnchorLatents]) -> AnchorLatents:
        """Concatenates anchors of the same slots over consecutive frame ranges.

        Poses are concatenated as well, so their number may differ from (t - 1) * compression + 1.
        """
        if len(parts) == 1:
            return parts[0]
        shares = [part.coverage for part in parts if part.coverage is not None]
        return cls(
            torch.cat([part.latents for part in parts], dim=2),
            torch.cat([part.visible_tokens for part in parts], dim=2),
            torch.cat([part.target2source for part in parts], dim=2),
            torch.cat([part.target2first for part in parts], dim=1),
            torch.cat(shares, dim=2) if len(shares) == len(parts) else None,
        )


@dataclass(frozen=True)
class PrecedingLatents(Batched):
    """A batch of `Preceding` in the networks' input format.

    Args:
        latents: VAE latents of the P frames as one video, scaled [B, p, C, h, w] with
            p = (P - 1) / compression + 1.
        anchors: of these frames: p latent frames, P poses; their `target2first` is
            `preceding2first`.
    """

    latents: Float[Tensor, "B p C h w"]
    anchors: AnchorLatents


@dataclass(frozen=True)
class ReferenceLatents(Batched):
    """A batch of references in the networks' input format.

    Args:
        latents: VAE latents of each frame alone, scaled [B, R, C, h, w].
        present: [B, R], False where a sample has fewer references than R.
        reference2first: [B, R, 4, 4], each reference's camera relative to the first target camera,
            translations in scene units.
        target2first: [B, T, 4, 4], likewise for the target cameras.
    """

    latents: Float[Tensor, "B R C h w"]
    present: Bool[Tensor, "B R"]
    reference2first: Float[Tensor, "B R 4 4"]
    target2first: Float[Tensor, "B T 4 4"]

    @classmethod
    def join(cls, parts: Sequence[ReferenceLatents]) -> ReferenceLatents:
        """The samples of all parts; those with fewer references are padded with absent ones."""
        most = max(part.present.shape[1] for part in parts)
        return super().join([part._padded(most) for part in parts])

    def followed_by(self, preceding: PrecedingLatents, compression: int) -> ReferenceLatents:
        """These, followed by every latent frame of the preceding clip as an additional reference.

        Args:
            preceding: with the same number of samples.
            compression: video frames per latent frame; the camera of the first one is used.
        """
        B, p = preceding.latents.shape[:2]
        poses = preceding.anchors.target2first[:, ::compression]
        return replace(
            self,
            latents=torch.cat([self.latents, preceding.latents.to(self.latents)], dim=1),
            present=torch.cat([self.present, self.present.new_ones(B, p)], dim=1),
            reference2first=torch.cat([self.reference2first, poses.to(self.reference2first)], 1),
        )

    def _padded(self, count: int) -> ReferenceLatents:
        B, R = self.present.shape
        more = count - R
        if more == 0:
            return self
        latents = self.latents.new_zeros(B, more, *self.latents.shape[2:])
        poses = torch.eye(4).to(self.reference2first).expand(B, more, 4, 4)
        return replace(
            self,
            latents=torch.cat([self.latents, latents], dim=1),
            present=torch.cat([self.present, self.present.new_zeros(B, more)], dim=1),
            reference2first=torch.cat([self.reference2first, poses], dim=1),
        )


def empty_anchors(slots: int, shape: Sequence[int]) -> Anchors:
    """`slots` anchors of video shape (T, 3, H, W) that show nothing.

    Raises:
        ValueError: a negative number of slots.
    """
    if slots < 0:
        raise ValueError(f"cannot make {slots} anchors; there are more anchors than slots")
    T, _, H, W = shape
    # numpy gets zeroed memory in huge pages and touches none of it, torch fills it page by page.
    return Anchors(
        torch.from_numpy(np.zeros((slots, T, 3, H, W), np.float32)),
        torch.from_numpy(np.zeros((slots, T, H, W), np.bool_)),
        torch.eye(4).expand(slots, T, 4, 4).clone(),
    )


def references_for(
    target: Cameras, frames: Iterable[Float[Tensor, "3 H W"]], cameras: Cameras
) -> References:
    """Frames with their `cameras` as references for target cameras [T]; possibly none."""
    seen = list(frames)
    shown = torch.stack(seen) if seen else torch.zeros(0, 3, *target.size)
    return References(shown, cameras, cameras.relative_to(target[0]))


def stack_anchors(parts: Sequence[Anchors]) -> Anchors:
    """Concatenates the anchors of `parts`, which show the same T frames, along slots."""
    return Anchors(
        torch.cat([part.video for part in parts]),
        torch.cat([part.visible for part in parts]),
        torch.cat([part.target2source for part in parts]),
    )


def composite(anchors: Anchors) -> tuple[Float[Tensor, "T 3 H W"], Bool[Tensor, "T H W"]]:
    """One video of all anchors: each pixel from the first slot that sees it.

    Returns:
        Colours [T, 3, H, W] in [0, 1], black where no slot sees, and where any does [T, H, W].
    """
    # Shaped like one anchor's, even if there are none.
    video = anchors.video.new_zeros(anchors.video.shape[1:])
    seen = anchors.visible.new_zeros(anchors.visible.shape[1:])
    for colours, visible in zip(anchors.video, anchors.visible, strict=True):
        video = torch.where((visible & ~seen)[:, None], colours, video)
        seen = seen | visible
    return video, seen


def scale_translation(pose: Float[Tensor, "*batch 4 4"], scale: float) -> Tensor:
    """Rigid transforms [..., 4, 4] with their translations multiplied by `scale`."""
    scaled = pose.clone()
    scaled[..., :3, 3] *= scale
    return scaled

"""Sources of clip captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from anchorweave.models.digest import weights_digest
from anchorweave.ranges import check_numbers, within
from anchorweave.recordings import Recording

# (recording, indices of the target's T frames, these frames [T, 3, H, W]) -> caption
Caption = Callable[[Recording, Sequence[int], Tensor], str]


@dataclass(frozen=True)
class CaptionConfig:
    """Where captions come from.

    Args:
        kind: `sidecar` reads a text beside the recording: `captions.txt` (one line per stretch; see
            training.caption_recordings) or `caption.txt` in its folder, or `X.caption.txt` beside a
            file X.txt or X.json, and gives clips without one the empty prompt, as in inference;
            `text` uses the same caption for all clips; `model` uses a captioning model.
        text: the caption (text).
        model: folder or hub name of a transformers model for image or video captioning, or for
            chat with images (model).
        question: prompt for a chat model; null = a default one.
        frames: number of frames of a clip for a chat model; null = 8.

    Raises:
        ValueError: a kind without its required options.
    """

    kind: Literal["sidecar", "text", "model"] = "sidecar"
    text: str | None = None
    model: str | None = None
    question: str | None = None
    frames: int | None = within(None, at_least=1)

    def __post_init__(self):
        check_numbers(self)
        for kind in ("text", "model"):
            if (self.kind == kind) != bool(getattr(self, kind)):
                raise ValueError(
                    f"caption.kind={self.kind} excludes caption.{kind}={getattr(self, kind)!r}; "
                    f"caption.{kind} belongs to caption.kind={kind}"
                )
        for name in ("question", "frames"):
            if self.kind != "model" and getattr(self, name) is not None:
                raise ValueError(
                    f"caption.kind={self.kind} excludes caption.{name}={getattr(self, name)!r}; "
                    f"caption.{name} belongs to caption.kind=model"
                )

    def made(self) -> dict[str, str]:
        """Settings that captions depend on, for fingerprints."""
        made = {"caption.kind": self.kind}
        if self.kind == "text":
            made["caption.text"] = self.text
        if self.kind == "model":
            folder = Path(self.model)
            made["caption.model"] = weights_digest(folder) if folder.is_dir() else self.model
            for name in ("question", "frames"):
                if (asked := getattr(self, name)) is not None:
                    made[f"caption.{name}"] = str(asked)
        return made


def make_caption(config: CaptionConfig, device: torch.device) -> Caption:
    """The source of captions selected by `config`."""
    if config.kind == "sidecar":
        return lambda recording, positions, frames: recording.caption(positions) or ""
    if config.kind == "text":
        return lambda recording, positions, frames: config.text
    # Loading transformers takes seconds, which the other kinds avoid.
    from anchorweave.models.captioner import Captioner

    captioner = Captioner(config.model, device, config.question, config.frames)
    return lambda recording, positions, frames: captioner(frames)

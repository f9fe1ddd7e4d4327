"""Where the caption of a clip comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from anchorweave.models.digest import weights_digest
from anchorweave.recordings import Recording

# (recording, positions of the target's T frames, these frames [T, 3, H, W]) -> caption
Caption = Callable[[Recording, Sequence[int], Tensor], str]


@dataclass(frozen=True)
class CaptionConfig:
    """What says what a clip shows.

    Args:
        kind: `sidecar` reads a text beside the recording: `captions.txt` (a line a stretch; see
            training.caption_recordings) or `caption.txt` in its folder, or `X.caption.txt` beside a
            file X.txt or X.json, and gives clips without one the empty prompt, as inference does;
            `text` gives all clips the same; `model` asks a captioning model.
        text: the caption (text).
        model: folder or hub name of a model of transformers that captions images or videos (model).

    Raises:
        ValueError: a kind without what it needs.
    """

    kind: Literal["sidecar", "text", "model"] = "sidecar"
    text: str | None = None
    model: str | None = None

    def __post_init__(self):
        for kind in ("text", "model"):
            if (self.kind == kind) != bool(getattr(self, kind)):
                raise ValueError(
                    f"caption.kind={self.kind} came with caption.{kind}={getattr(self, kind)!r}; "
                    f"caption.{kind} belongs to caption.kind={kind}"
                )

    def made(self) -> dict[str, str]:
        """What captions depend on, for fingerprints."""
        made = {"caption.kind": self.kind}
        if self.kind == "text":
            made["caption.text"] = self.text
        if self.kind == "model":
            folder = Path(self.model)
            made["caption.model"] = weights_digest(folder) if folder.is_dir() else self.model
        return made


def make_caption(config: CaptionConfig, device: torch.device) -> Caption:
    """The source of captions that `config` names."""
    if config.kind == "sidecar":
        return lambda recording, positions, frames: recording.caption(positions) or ""
    if config.kind == "text":
        return lambda recording, positions, frames: config.text
    # Loading transformers takes seconds that the other kinds need not wait for.
    from anchorweave.models.captioner import Captioner

    captioner = Captioner(config.model, device)
    return lambda recording, positions, frames: captioner(frames)

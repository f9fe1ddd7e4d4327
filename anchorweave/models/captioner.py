"""Captions from a captioning model of transformers, of an image or of a video, chosen by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

MAX_TOKENS = 60


class Captioner:
    """Captions a video from its middle frame, or from as many frames as a video model takes.

    Args:
        model: folder or hub name of a model that captions without being asked anything: images
            (BLIP, GIT and their kind) or videos (GIT's, such as microsoft/git-base-vatex, whose
            config gives the number of frames that it was trained on).
        device: where it computes.

    Raises:
        FileNotFoundError: no such model here, and none that can be fetched.
    """

    def __init__(self, model: str, device: torch.device):
        try:
            self._processor = AutoProcessor.from_pretrained(model)
            self._model = AutoModelForImageTextToText.from_pretrained(model).to(device).eval()
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"the captioning model {model!r} cannot be loaded ({str(error).splitlines()[0]}); "
                "give a folder with its weights, or caption=sidecar or caption=text"
            ) from error
        self.name, self._device = model, device
        # Only GIT's configs have it, and only those of video models set it.
        self._frames = getattr(self._model.config, "num_image_with_embedding", None)

    def looks_at(self, count: int) -> list[int]:
        """Positions of the frames that the model is given, evenly spread."""
        shown = self._frames or 1
        return [min(int((2 * i + 1) * count / (2 * shown)), count - 1) for i in range(shown)]

    def __call__(self, frames: Float[Tensor, "T 3 H W"]) -> str:
        """A caption of frames in [0, 1].

        Raises:
            ValueError: the model returns no words.
        """
        return self.describe([frames[i] for i in self.looks_at(len(frames))])

    @torch.no_grad()
    def describe(self, shown: Sequence[Float[Tensor, "3 H W"]]) -> str:
        """A caption of just the frames that `looks_at` names, in [0, 1].

        Raises:
            ValueError: the model returns no words.
        """
        images = [
            Image.fromarray((one * 255).round().byte().permute(1, 2, 0).cpu().numpy())
            for one in shown
        ]
        inputs = self._processor(images=images, return_tensors="pt").to(self._device)
        if self._frames is not None:
            # One video of several frames, not several images.
            inputs["pixel_values"] = inputs["pixel_values"][None]
        tokens = self._model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        caption = self._processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()
        if not caption:
            raise ValueError(f"the captioning model {self.name!r} found no words for a frame")
        return caption

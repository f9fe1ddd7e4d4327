"""Captions from an image-captioning model of transformers, chosen by name."""

from __future__ import annotations

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

MAX_TOKENS = 60


class Captioner:
    """Describes a video by its middle frame.

    Args:
        model: folder or hub name of a model that captions an image without being asked anything
            (BLIP, GIT and their kind).
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

    @torch.no_grad()
    def __call__(self, frames: Float[Tensor, "T 3 H W"]) -> str:
        """A caption of frames in [0, 1].

        Raises:
            ValueError: the model says nothing.
        """
        middle = (frames[len(frames) // 2] * 255).round().byte().permute(1, 2, 0)
        image = Image.fromarray(middle.cpu().numpy())
        inputs = self._processor(images=[image], return_tensors="pt").to(self._device)
        tokens = self._model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        caption = self._processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()
        if not caption:
            raise ValueError(f"the captioning model {self.name!r} found no words for a frame")
        return caption

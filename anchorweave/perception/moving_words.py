"""WordsConfig: moving objects specified by text prompts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WordsConfig:
    """Options of detecting objects by text prompts; none is given in the papers.

    Args:
        words: names of objects that may move; static objects of these names are masked as well.
        detector: weights of Grounding DINO, which detects boxes: a folder in transformers' layout,
            or a model name in the local Hugging Face cache. Nothing is downloaded.
        segmenter: weights of SAM 2, which turns boxes into masks and tracks them; likewise.
        threshold: minimum confidence of a detected box, in [0, 1].
        every: frames between detections; masks are tracked that far in both directions.
        grow: dilation of the masks in pixels, to cover borders.

    Raises:
        ValueError: no words, or a value out of range.
    """

    words: tuple[str, ...] = ("person", "animal", "vehicle")
    detector: str = "pretrained/grounding-dino-tiny"
    segmenter: str = "pretrained/sam2.1-hiera-tiny"
    threshold: float = 0.3
    every: int = 16
    grow: int = 1

    def __post_init__(self):
        words = [word.strip(" .") for word in self.words]
        if not words or not all(words) or any("." in word for word in words):
            raise ValueError(
                f"perception.sam2.words={list(self.words)}: name objects that may move, such as "
                "[person,car]"
            )
        if not 0 < self.threshold < 1 or self.every < 1 or self.grow < 0:
            raise ValueError(
                "perception.sam2: threshold must lie between 0 and 1, every be at least 1 and grow "
                f"at least 0; got {self}"
            )

    def prompt(self) -> str:
        """The words in the prompt format that Grounding DINO was trained with."""
        return "".join(f"{word.strip(' .').lower()}. " for word in self.words).strip()

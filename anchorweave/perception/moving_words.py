"""WordsConfig: things that move, called by words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WordsConfig:
    """Options of finding things by words; none is given in the papers.

    Args:
        words: names of things that may move; static things of these names are kept out as well.
        detector: weights of Grounding DINO, which finds boxes: a folder in transformers' layout, or
            the name of one that the hub's cache on this machine holds. Nothing is downloaded.
        segmenter: weights of SAM 2, which makes masks of boxes and follows them; likewise.
        threshold: how sure of a box the detector must be, in [0, 1].
        every: frames between searches; what is found is tracked that far in both directions.
        grow: pixels by which masks are widened, for their borders.

    Raises:
        ValueError: no words, or a number out of its range.
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
                f"perception.sam2.words={list(self.words)}: name things that may move, such as "
                "[person,car]"
            )
        if not 0 < self.threshold < 1 or self.every < 1 or self.grow < 0:
            raise ValueError(
                "perception.sam2: threshold must lie between 0 and 1, every be at least 1 and grow "
                f"at least 0; met {self}"
            )

    def prompt(self) -> str:
        """The words as Grounding DINO was trained to read them."""
        return "".join(f"{word.strip(' .').lower()}. " for word in self.words).strip()

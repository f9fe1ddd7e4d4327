"""Mixture: several data sets combined in given ratios."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch.utils.data import Dataset

from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.layout import RELEASED_LIST
from anchorweave.datasets.released_layout import SLOTS, ReleasedClips
from anchorweave.datasets.training_clip import TrainingClip


class Mixture(Dataset):
    """Data sets interleaved in the ratio of their shares.

    A round has as many samples as the sum of the shares (3 : 1 makes rounds of four, with the sets
    spread evenly). Each set continues in the next round where it stopped, wrapping around at its
    end. So the clips of a set are visited equally often, up to one, and any sequence of whole
    rounds has the exact ratio.

    An epoch is the smallest number of whole rounds that visits every clip of every set at least
    once: the set with the most clips per share is passed once, the others are repeated. (The
    released code passes DL3DV once, which is the same unless RealEstate10K is the longer part.)

    Args:
        sets: the data sets by name.
        shares: samples per round from each set, by the same names.

    Raises:
        ValueError: no sets, mismatched names, an empty set, or a share that is not a positive
            integer.
    """

    def __init__(self, sets: Mapping[str, Dataset], shares: Mapping[str, int]):
        if not sets or sets.keys() != shares.keys():
            raise ValueError(f"a mixture of {list(sets)} came with shares for {list(shares)}")
        if wrong := {name: share for name, share in shares.items() if share < 1}:
            raise ValueError(f"shares of a mixture must be positive integers, got {wrong}")
        if empty := [name for name, clips in sets.items() if not len(clips)]:
            raise ValueError(f"a mixture cannot sample from {', '.join(empty)}: 0 clips")
        self.sets, self.shares = dict(sets), dict(shares)
        self._round = _spread(self.shares)
        self._rounds = max(-(-len(clips) // shares[name]) for name, clips in sets.items())

    def __len__(self) -> int:
        return self._rounds * len(self._round)

    def __getitem__(self, index: int) -> TrainingClip:
        """Sample `index` of an epoch.

        Raises:
            BadClip: raised by the data set of the sample.
        """
        name, clip = self.locate(index)
        return self.sets[name][clip]

    def locate(self, index: int) -> tuple[str, int]:
        """The data set of sample `index`, and the index of its clip there.

        Raises:
            IndexError: outside the epoch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} is outside a mixture of {len(self)}")
        done, place = divmod(index, len(self._round))
        name, before = self._round[place]
        return name, (done * self.shares[name] + before) % len(self.sets[name])

    def holes(self) -> dict[str, str]:
        """How holes of each data set's anchors were filled, see `anchorweave/holes`.

        Read from the header of one clip of each: a data set is precomputed with a single setting.

        Raises:
            BadClip: a data set without any readable latents.
        """
        return {name: clips.holes() for name, clips in self.sets.items()}

    def describe(self) -> list[str]:
        """One line per data set: its share, and how often an epoch visits its clips."""
        total = len(self._round)
        return [
            f"{name}: {self.shares[name]} of {total} samples, {len(clips)} clips, each "
            f"{self._rounds * self.shares[name] / len(clips):.2f} times an epoch on average"
            for name, clips in self.sets.items()
        ]


def open_mixture(
    shares: Mapping[str, int],
    memory: str | None = "local_clouds",
    first_frame: Literal["seen", "always"] = "seen",
) -> Mixture:
    """The mixture of the data sets in several folders, such as {"data/dl3dv": 3, "data/re10k": 1}.

    Args:
        shares: by folder; prepared data sets, or ones in the authors' released layout.
        memory: the memory system whose anchors to use in prepared ones; None = no anchors at all.
        first_frame: as in `LatentClips`; released data always use `always`.

    Raises:
        ValueError: a folder without clips, or an invalid `Mixture`.
    """
    return Mixture({root: open_clips(root, memory, first_frame) for root in shares}, shares)


def open_clips(
    root: str | Path,
    memory: str | None = "local_clouds",
    first_frame: Literal["seen", "always"] = "seen",
) -> LatentClips | ReleasedClips:
    """The data set in one folder, in either layout.

    Raises:
        ValueError: there are no clips; the message says why.
    """
    if (Path(root) / RELEASED_LIST).is_file():
        return ReleasedClips(root, slots=() if memory is None else SLOTS)
    return LatentClips(root, memory, first_frame)


def _spread(shares: Mapping[str, int]) -> list[tuple[str, int]]:
    """One round: (set, number of its samples before this one), each set spread evenly."""
    # Sample j of s is at (j + 1/2) / s of the round; ties go to the set that is named first.
    places = [
        ((2 * j + 1) / (2 * share), order, name, j)
        for order, (name, share) in enumerate(shares.items())
        for j in range(share)
    ]
    return [(name, j) for _, _, name, j in sorted(places)]

"""Mixture: several data sets in stated ratios, as one."""

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
    """Data sets taken in turn, in the ratio of their shares.

    A round is as many samples as the shares add up to (3 : 1 makes rounds of four, the sets spread
    evenly within), and a set goes on in the next round where it stopped in the one before, from
    its start again after its end. So the clips of a set are visited equally often, give or take
    one, and any stretch of whole rounds holds the exact ratio.

    An epoch is the fewest whole rounds in which every clip of every set is visited at least once:
    the set with the most clips per share is passed once, the others are repeated. (The released
    code passes DL3DV once, which is the same wherever RealEstate10K is not the longer part.)

    Args:
        sets: the data sets by name.
        shares: how many samples of a round each gives, by the same names.

    Raises:
        ValueError: no sets, other names, an empty set, or a share that is no positive number.
    """

    def __init__(self, sets: Mapping[str, Dataset], shares: Mapping[str, int]):
        if not sets or sets.keys() != shares.keys():
            raise ValueError(f"a mixture of {list(sets)} came with shares for {list(shares)}")
        if wrong := {name: share for name, share in shares.items() if share < 1}:
            raise ValueError(f"shares of a mixture are whole numbers from 1 on, met {wrong}")
        if empty := [name for name, clips in sets.items() if not len(clips)]:
            raise ValueError(f"a mixture cannot take anything from {', '.join(empty)}: 0 clips")
        self.sets, self.shares = dict(sets), dict(shares)
        self._round = _spread(self.shares)
        self._rounds = max(-(-len(clips) // shares[name]) for name, clips in sets.items())

    def __len__(self) -> int:
        return self._rounds * len(self._round)

    def __getitem__(self, index: int) -> TrainingClip:
        """Sample `index` of an epoch.

        Raises:
            BadClip: as the data set that it is taken from.
        """
        name, clip = self.locate(index)
        return self.sets[name][clip]

    def locate(self, index: int) -> tuple[str, int]:
        """Which data set sample `index` is taken from, and which of its clips it is.

        Raises:
            IndexError: outside the epoch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of a mixture that has {len(self)}")
        done, place = divmod(index, len(self._round))
        name, before = self._round[place]
        return name, (done * self.shares[name] + before) % len(self.sets[name])

    def holes(self) -> dict[str, str]:
        """What the anchors of each data set held where nothing was seen, see `anchorweave/holes`.

        Read from the header of one clip of each: a data set is precomputed with one kind.

        Raises:
            BadClip: a data set of which no clip's latents can be read.
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
    """The mixture of the data sets in some folders, such as {"data/dl3dv": 3, "data/re10k": 1}.

    Args:
        shares: by folder; prepared data sets, or ones in the authors' released layout.
        memory: which memory system's anchors, for prepared ones; None = no anchors, for all.
        first_frame: as in `LatentClips`; released ones always have `always`.

    Raises:
        ValueError: a folder without clips, or what `Mixture` refuses.
    """
    return Mixture({root: open_clips(root, memory, first_frame) for root in shares}, shares)


def open_clips(
    root: str | Path,
    memory: str | None = "local_clouds",
    first_frame: Literal["seen", "always"] = "seen",
) -> LatentClips | ReleasedClips:
    """The data set in one folder, whichever of the two layouts it has.

    Raises:
        ValueError: no clips, and why.
    """
    if (Path(root) / RELEASED_LIST).is_file():
        return ReleasedClips(root, slots=() if memory is None else SLOTS)
    return LatentClips(root, memory, first_frame)


def _spread(shares: Mapping[str, int]) -> list[tuple[str, int]]:
    """One round: (set, how many of that set came before), each set spread evenly over it."""
    # Sample j of s lies at (j + 1/2) / s of the round; of equal places the first named set leads.
    places = [
        ((2 * j + 1) / (2 * share), order, name, j)
        for order, (name, share) in enumerate(shares.items())
        for j in range(share)
    ]
    return [(name, j) for _, _, name, j in sorted(places)]

"""Doctor: checks every clip of a data set, before a week of training relies on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anchorweave.datasets.clip_videos import video_shape
from anchorweave.datasets.encoded_clip import (
    FEATURES,
    keeps_sums,
    read_made,
    read_tensors,
)
from anchorweave.datasets.fingerprint import differences, digest
from anchorweave.datasets.latent_clips import read_clip
from anchorweave.datasets.layout import (
    CAPTION_FEATURES,
    EMPTY_CAPTION,
    LATENTS,
    RECORD,
    RELEASED_LIST,
    VIDEO,
    VISIBLE,
    BadClip,
    anchor_folder,
    anchor_video,
    prepared_clips,
)
from anchorweave.datasets.prepared_clip_reading import (
    check_sums,
    read_cameras,
    read_caption,
    read_preceding,
    read_record,
    read_references,
    read_visible,
)
from anchorweave.datasets.released_layout import ReleasedClips

# Entries that differ between clips of one data set; all others are shared.
OWN_KEYS = (
    *("recording", "content", "start", "caption", "prepared", "tile"),
    *("vae_content", "text_content"),
)

ENCODED = (LATENTS, CAPTION_FEATURES)


@dataclass(frozen=True)
class Verdict:
    """The result of checking one clip.

    Args:
        name: the clip.
        problems: why it cannot be used for training; empty = it can.
        coverage: fraction of the target's pixels that at least one anchor observed, per memory
            system.
        shape: latent (t, C, h, w); None if there are no latents.
        summed: whether checksums of its files are stored; without them corruption goes
            unnoticed.
    """

    name: str
    problems: tuple[str, ...]
    coverage: Mapping[str, float]
    shape: tuple[int, ...] | None = None
    summed: bool = True


def examine(
    root: str | Path,
    min_coverage: float = 0.01,
    watch: Callable[[Sequence[Path]], Iterator[Path]] = iter,
) -> list[Verdict]:
    """Checks all clips of a data set, prepared or in the released layout.

    A prepared data set without any latents is checked on its pixels alone. Latents or fingerprints
    that differ from those of most clips count as problems of the clips that differ.

    Args:
        root: the data set's folder.
        min_coverage: anchors that cover less than this fraction of the target, averaged over its
            frames, are a problem (not given in the paper).
        watch: wraps the clips, to show progress.

    Raises:
        ValueError: there are no clips; the message says why.
    """
    if (Path(root) / RELEASED_LIST).is_file():
        released = ReleasedClips(root, quarantine={})
        order = {clip: i for i, clip in enumerate(released.clips)}
        return [_released_verdict(released, order[clip]) for clip in watch(released.clips)]
    clips = prepared_clips(root)
    encoded = any((clip / LATENTS).exists() for clip in clips)
    verdicts = [_prepared_verdict(clip, encoded, min_coverage) for clip in watch(clips)]
    return _outvoted(Path(root), verdicts, encoded)


def empty_prompt_problem(root: str | Path) -> str | None:
    """What is wrong with the features of the empty prompt, which belong to no clip."""
    try:
        read_tensors(Path(root) / EMPTY_CAPTION, (FEATURES,))
    except BadClip as bad:
        return bad.reason
    return None


def _released_verdict(clips: ReleasedClips, index: int) -> Verdict:
    name = str(clips.clips[index].relative_to(clips.root))
    try:
        clip = clips[index]
    except BadClip as bad:
        return Verdict(name, (bad.reason,), {})
    return Verdict(name, (), {}, tuple(clip.latents.shape))


def _prepared_verdict(clip: Path, encoded: bool, min_coverage: float) -> Verdict:
    problems: list[str] = []
    coverage: dict[str, float] = {}
    shape = None

    def tried(examination: Callable, *args) -> Any:
        try:
            return examination(*args)
        except BadClip as bad:
            problems.append(bad.reason)

    tried(read_record, clip)
    caption = tried(read_caption, clip)
    poses = tried(read_cameras, clip)
    sources = poses.target2source if poses else {}
    if poses:
        tried(_check_video, clip, clip / VIDEO, (len(poses.cameras), *poses.cameras.size))
        if not sources:
            problems.append("has no anchors of any memory system")
    for memory, pose in sources.items():
        expected = (*pose.shape[:2], *poses.cameras.size)
        seen = tried(_check_anchors, clip, memory, expected)
        if seen is not None:
            coverage[memory] = seen
            references = tried(read_references, clip, memory)
            tried(read_preceding, clip, memory)
            # A system without anchors provides references instead.
            if seen < min_coverage and (len(pose) or (references is None or not len(references))):
                problems.append(f"anchors of {memory} see {seen:.2%} of the target")
        if encoded and (loaded := tried(read_clip, clip, memory)):
            shape = tuple(loaded.latents.shape)
    if encoded and caption is not None and (made := tried(read_made, clip / CAPTION_FEATURES)):
        if made.get("caption") != caption:
            problems.append(f"caption changed after it was encoded, from {made.get('caption')!r}")
    summed = tried(check_sums, clip)
    if encoded:
        summed = all([summed, *(tried(keeps_sums, clip / file) for file in ENCODED)])
    return Verdict(clip.name, tuple(dict.fromkeys(problems)), coverage, shape, bool(summed))


def _check_video(clip: Path, path: Path, expected: tuple[int, int, int]) -> None:
    if (shape := video_shape(clip, path)) != expected:
        what = f"{path.relative_to(clip)} is {shape} (frames, height, width)"
        raise BadClip(clip, f"{what}, expected {expected}")


def _check_anchors(clip: Path, memory: str, expected: tuple[int, int, int, int]) -> float:
    """Coverage of the anchors of one memory system, after checking all their files."""
    visible = read_visible(clip, memory)
    if tuple(visible.shape) != expected:
        raise BadClip(clip, f"{memory}/{VISIBLE} is {tuple(visible.shape)}, expected {expected}")
    for slot in range(expected[0]):
        _check_video(clip, anchor_video(anchor_folder(clip, memory), slot), expected[1:])
    return visible.any(dim=0).float().mean().item() if len(visible) else 0.0


def _outvoted(root: Path, verdicts: list[Verdict], encoded: bool) -> list[Verdict]:
    """The verdicts, with an added problem for clips made with other settings than most."""
    made: dict[str, dict[str, dict]] = {file: {} for file in (RECORD, LATENTS, CAPTION_FEATURES)}
    for verdict in verdicts:
        clip = root / verdict.name
        for file in made if encoded else (RECORD,):
            try:
                values = read_record(clip)["made"] if file == RECORD else read_made(clip / file)
            except BadClip:
                continue  # already listed as a problem
            made[file][verdict.name] = {k: v for k, v in values.items() if k not in OWN_KEYS}
    usual = {file: _most_common(list(values.values())) for file, values in made.items()}
    judged = []
    for verdict in verdicts:
        problems = list(verdict.problems)
        for file, values in made.items():
            if differ := differences(values.get(verdict.name, usual[file]), usual[file]):
                problems.append(
                    f"{file} was made with other settings than most: {'; '.join(differ)}"
                )
        judged.append(replace(verdict, problems=tuple(problems)))
    return judged


def _most_common(made: list[dict[str, Any]]) -> dict[str, Any]:
    votes = Counter(digest(values) for values in made)
    return max(made, key=lambda values: votes[digest(values)], default={})

"""RunConfig: the owners' dataclasses put together, from YAML files and `a.b=c` words.

Of several YAML files each comes over those before it, as a protocol over a row. A file may name
another one as its `base:`, which comes right before it and may have a base as well; the words of
the command line come last. A key that no dataclass knows is an error that names the nearest one. A
section that offers several kinds may be given by the kind alone: `split=later` is
`split.kind=later`.

The config that a run saves may be given to every command that shares its options: it names those
that only its own command has (`own_options:`), which others leave out, and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from anchorweave.datasets.splits import SplitConfig
from anchorweave.evaluation.contradiction import Check
from anchorweave.files import written_aside
from anchorweave.memory import MemoryConfig
from anchorweave.perception import PerceptionConfig
from anchorweave.ranges import check_numbers
from anchorweave.recordings.config import RecordingConfig
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig

Schema = TypeVar("Schema")
# Of a saved config: which of its options only the command that saved it has.
OWN_OPTIONS = "own_options"
# Pixels along one side of a frame; larger ones fill any machine's memory before anything is said.
SIDES = (16, 8192)


@dataclass(frozen=True)
class ModelConfig:
    """Which networks generate.

    Args:
        path: a folder in diffusers' layout (an AnchorWeave pipeline, or an official
            image-to-video one: CogVideoX, Wan2.2-TI2V), or `tiny`, `tiny_wan`: small networks with
            random weights, built in code.
        controller: a folder (such as `controller/` of a training checkpoint) or a released `.pt`
            with the weaving controller; null = the one of `path`, or a new, untrained one.
        released_weights: which weights of a released `.pt` are used: its moving average or the live
            ones (its first stage has no moving average of its own).
        references: a folder (such as `references/` of a training checkpoint) with what reads
            references; null = the one of `path`, or none.
        lora: a folder (such as `backbone_lora/` of a training checkpoint) with an adapter of the
            backbone; null = none.
        dtype: precision of all networks.
        device: `auto` (a GPU if there is one), `cpu` or `cuda`.
        offload: keep on the GPU only the network at work (needs a GPU).
        tile_vae: encode and decode one video at a time, in overlapping tiles: much less memory, a
            little slower.
    """

    path: str = "tiny"
    controller: str | None = None
    released_weights: Literal["ema", "live"] = "ema"
    references: str | None = None
    lora: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    offload: bool = False
    tile_vae: bool = False

    def __post_init__(self):
        file = Path(self.controller or "").suffix == ".pt"
        if self.released_weights != "ema" and not file:
            raise ValueError(
                f"model.released_weights={self.released_weights} chooses within a released .pt, "
                f"and model.controller={self.controller} is none; leave it out (folders of a "
                "training end in _ema for the running average)"
            )


@dataclass(frozen=True)
class SamplingConfig:
    """How a video is sampled.

    Args:
        prompt: what is shown; null = the recording's `caption.txt`, or no words.
        negative_prompt: what is not.
        steps: denoising steps.
        guidance: classifier-free guidance; 1 = off, which halves the time.
        dynamic_guidance: let guidance rise over the steps, as CogVideoX does by default; Wan
            cannot.
        control_weight: strength of the anchors (paper section 3.4: 1).
        camera_weight: strength of the target poses, "camera 0" (paper section 3.4: 1).
        control_window: share of the steps, from and to, in which both act. 0.8 in the released
            script and appendix A.1, 0.9 in section 4.1.
        visible_first_frame: whether the tokens of an anchor's frame 0 count as seen only where they
            were `seen`, or `always`, as the released controller was trained.
        start: what sampling starts from: `noise`, or the noised composite of the `anchors`, holes
            filled, of which only the last steps are run (our addition; for any backbone, also with
            both weights 0). Where no anchor shows anything of a frame, the nearest frame in time
            stands in, the first frame if there is no other. The control window counts the steps
            that are run; guidance rises as it does in a run of all steps.
        start_share: with `anchors`, which share of the steps is run, in (0, 1]; at least one step.
    """

    prompt: str | None = None
    negative_prompt: str = ""
    steps: int = 50
    guidance: float = 6.0
    dynamic_guidance: bool = True
    control_weight: float = 1.0
    camera_weight: float = 1.0
    control_window: tuple[float, float] = (0.0, 0.8)
    visible_first_frame: Literal["seen", "always"] = "seen"
    start: Literal["noise", "anchors"] = "noise"
    start_share: float = 0.3

    def __post_init__(self):
        _require(self.steps >= 1, "sampling.steps", self.steps, "at least 1")
        _require(self.guidance >= 1, "sampling.guidance", self.guidance, "at least 1 (1 = off)")
        share = self.start_share
        _require(0 < share <= 1, "sampling.start_share", share, "a share of the steps in (0, 1]")


@dataclass(frozen=True)
class RolloutConfig:
    """A long video in segments.

    Args:
        trajectory: a preset, the paper's keyboard words (`geometry/trajectories.py` lists both),
            or the path of a camera file.
        segments: how many clips of `frames` frames; each shares one frame with the one before.
        seen: frames at the recording's start that are remembered; it goes on from the last one.
        prompts: what is shown, one for each segment, in the place of `sampling.prompt` and of a
            recording's caption; null = these, for all.
        unit: what one unit of length of the trajectory is: `scene`, the median depth of the frame
            that it starts from (most camera files have no metric scale), or `recording`, the unit
            of the recording's poses, such as a metre.
    """

    trajectory: str = "there_and_back(orbit(degrees=30))"
    segments: int = 3
    seen: int = 1
    prompts: tuple[str, ...] | None = None
    unit: Literal["scene", "recording"] = "scene"

    def __post_init__(self):
        _require(self.segments >= 1, "rollout.segments", self.segments, "at least 1")
        _require(self.seen >= 1, "rollout.seen", self.seen, "at least 1")
        if self.prompts is not None and len(self.prompts) != self.segments:
            raise ValueError(
                f"rollout.prompts lists {len(self.prompts)} prompts for rollout.segments="
                f"{self.segments}; give one a segment"
            )


@dataclass(frozen=True)
class RunConfig:
    """Everything one run of `inference/` needs.

    Args:
        source: a recording: any folder or file that `recordings.open_recording` knows.
        missing: what to do with frames that a recording lists but does not hold.
        recording: what is to be taken otherwise than the recording says it: the scale of its depth,
            its intrinsics, the order of its frames.
        check: what to do with memories that contradict each other, as those of a wrong unit, K or
            poses do: `warn`, `error` (refuse) or `off`; `evaluation/contradiction.py` says how it
            is measured.
        output: the folder that results are written to.
        seed: of the sampling noise.
        size: (height, width) that frames are cropped and resized to; multiples of 16
            (cogvideox) or 32 (wan).
        frames: length T of a generated clip; 4k + 1.
        fps: frames per second of the videos that are written.
    """

    source: str = "data/example_dataset"
    missing: Literal["error", "skip"] = "error"
    check: Check = "warn"
    output: str = "outputs/run"
    seed: int = 0
    size: tuple[int, int] = (480, 720)
    frames: int = 49
    fps: int = 8
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    perception: PerceptionConfig = field(default_factory=PerceptionConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    rendering: RenderConfig = field(default_factory=RenderConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)

    def __post_init__(self):
        _require(self.frames >= 2, "frames", self.frames, "at least 2 (one is given)")
        _require(self.fps >= 1, "fps", self.fps, "at least 1")
        if self.rollout.prompts is not None and self.sampling.prompt is not None:
            raise ValueError(
                "rollout.prompts and sampling.prompt are both given; the former is one prompt a "
                "segment, the latter one for all: leave one out"
            )
        fits = all(SIDES[0] <= side <= SIDES[1] for side in self.size)
        _require(fits, "size", list(self.size), f"two sides of {SIDES[0]} to {SIDES[1]} pixels")


class UnknownOptionError(ValueError):
    """A key that no dataclass of the config knows.

    Args:
        message: with the word or file, and the nearest known key.
        key: as it was given, dotted.
    """

    def __init__(self, message: str, key: str):
        super().__init__(message)
        self.key = key


def load_config(
    schema: type[Schema], words: Sequence[str] = (), default: str | None = None
) -> Schema:
    """Read a config from command-line words.

    Args:
        schema: the dataclass to fill.
        words: `a.b=c` overrides; each `config=FILE` is a YAML file that comes over those before it.
            Overrides come over all files, wherever they stand.
        default: the YAML file used where `words` name none; None = the dataclass as it is.

    Raises:
        FileNotFoundError: a YAML file that does not exist.
        UnknownOptionError: a key that is none, with the nearest known one.
        ValueError: a word without "=", a value of another type, a number that is not finite or out
            of its range, or an empty `output`, which would be the folder that one stands in.
    """
    config = OmegaConf.to_object(_merged(schema, words, default))
    check_numbers(config)
    output = getattr(config, "output", None)
    if isinstance(output, str) and not output.strip():
        raise ValueError(f"output={output}: name a folder; output=. is the one that you stand in")
    return config


def default_values(
    schema: type, default: str | None = None, words: Sequence[str] = ()
) -> dict[str, Any]:
    """All options, nested as they are, with the values that they have before any is asked for.

    Args:
        schema: the dataclass; it need not be valid without words.
        default: as in `load_config`.
        words: likewise.
    """
    return OmegaConf.to_container(_merged(schema, words, default))


def as_words(value: Any) -> str:
    """A value as it is written behind `key=`, on one line."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).partition("\n")[0]


def _merged(schema: type, words: Sequence[str], default: str | None) -> DictConfig:
    paths, overrides = [], []
    for word in words:
        key, equals, value = word.partition("=")
        if key.startswith("-"):
            raise ValueError(f"{word!r} is no option; write OPTION=VALUE without dashes")
        if not equals:
            raise ValueError(f"{word!r} is no override; write key=value, such as frames=49")
        if key == "config":
            paths.append(value)
        else:
            overrides.append(word)
    # Word by word: `split=later split.history=0.5` are two steps into the same section.
    typed = [(word, _parse(schema, word)) for word in overrides]
    paths = paths or ([] if default is None else [default])
    files = [layer for path in paths for layer in _yaml_layers(path)]
    merged = _unlocked(OmegaConf.structured(schema))
    for origin, values in files:
        _leave_out(schema, origin, values)
    for origin, values in [*files, *typed]:
        try:
            merged = OmegaConf.merge(merged, _expand_kinds(schema, values))
        except OmegaConfBaseException as error:
            message = f"{origin}: {error.full_key or ''}: {str(error).splitlines()[0]}"
            if isinstance(error, ConfigKeyError):
                key = origin.partition("=")[0] if origin in overrides else error.full_key
                raise UnknownOptionError(message, str(key)) from error
            raise ValueError(message) from error
    return merged


def save_config(config: Any, path: Path) -> None:
    """Write the resolved config as YAML, aside and then renamed."""
    text = OmegaConf.to_yaml(OmegaConf.structured(config))
    if isinstance(config, RunConfig):
        shared = {f.name for f in fields(RunConfig)}
        if own := [f.name for f in fields(config) if f.name not in shared]:
            text = f"{OWN_OPTIONS}: [{', '.join(own)}]\n{text}"
    with written_aside(path) as aside:
        aside.write_text(text)


def _leave_out(schema: type, origin: str, values: dict) -> None:
    """Take out of a saved config the options that only the command that saved it has."""
    own = values.pop(OWN_OPTIONS, [])
    known = {f.name for f in fields(schema)}
    if foreign := [key for key in own if key in values and key not in known]:
        for key in foreign:
            del values[key]
        print(
            f"{origin}: left out {', '.join(foreign)}, which only the command that saved it has",
            flush=True,
        )


def _parse(schema: type, word: str) -> dict:
    """One override as nested keys. Text is taken as it stands: YAML would cut it at a `#`."""
    path, _, text = word.partition("=")
    kind: Any = schema
    for key in path.split("."):
        kind = get_type_hints(kind).get(key) if is_dataclass(kind) else None
    if not (kind is str or (text != "null" and kind == str | None)):
        try:
            return OmegaConf.to_container(OmegaConf.from_dotlist([word]))
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            said = " ".join(str(error).split())
            raise ValueError(f"{word!r}: the value cannot be read as YAML: {said}") from error
    value: Any = text
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def _require(holds: bool, key: str, met: Any, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{key}={met}: must be {wanted}")


def _yaml_layers(path: str) -> list[tuple[str, dict]]:
    """The file at `path`, after the file that it names as its base, after that one's, and so on."""
    layers: list[tuple[str, dict]] = []
    read: list[Path] = []
    following: Path | None = Path(path)
    while following is not None:
        if any(_same_file(following, earlier) for earlier in read):
            circle = " -> ".join(str(one) for one in [*read, following])
            raise ValueError(f"configs are each other's base in a circle: {circle}")
        read.append(following)
        values = _read_yaml(following)
        base = values.pop("base", None)
        layers.insert(0, (str(following), values))
        following = None if base is None else following.parent / base
    return layers


def _same_file(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _read_yaml(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"no config file at {path}")
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold keys and values, met {type(values).__name__}")
    return values


def _expand_kinds(schema: type, values: dict) -> dict:
    """`section: name` written out as `section: {kind: name}` where the section has kinds."""
    expanded = dict(values)
    hints = get_type_hints(schema)
    for key, value in values.items():
        section = hints.get(key)
        if is_dataclass(section) and isinstance(value, str):
            if any(f.name == "kind" for f in fields(section)):
                expanded[key] = {"kind": value}
    return expanded


def _unlocked(node: DictConfig) -> DictConfig:
    """Frozen dataclasses come as read-only nodes; layers are merged into them all the same."""
    OmegaConf.set_readonly(node, None)
    for key in node:
        child = node._get_node(key)
        if OmegaConf.is_dict(child):
            _unlocked(child)
    return node

"""Options of a command, a dataclass, read from YAML files and `a.b=c` overrides.

If there are several YAML files, later ones win, such as a protocol over a row. A file may name
another one as its `base:`, whose values it overrides and which may have a base as well;
command-line overrides come last. An unknown key is an error that suggests the nearest known one. A
section with several kinds may be set by its kind alone: `split=later` is `split.kind=later`.

The config saved by a run can be passed to every command that shares its options: it lists those
that only its own command has (`own_options:`), which others ignore with a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from anchorweave.field_types import hints_of
from anchorweave.files import atomic_write
from anchorweave.ranges import check_numbers
from anchorweave.renamed_options import refuse_renamed
from anchorweave.yaml_words import as_text

Schema = TypeVar("Schema")
# Key in a saved config: its options that only the command that saved it has.
OWN_OPTIONS = "own_options"


class UnknownOptionError(ValueError):
    """A key that no dataclass of the config has.

    Args:
        message: names the argument or file, and the nearest known key.
        key: the dotted key as given.
    """

    def __init__(self, message: str, key: str):
        super().__init__(message)
        self.key = key


class DashedWordError(ValueError):
    """An argument that starts with dashes, as no option does.

    Args:
        message: names the argument.
        name: what follows the dashes, without a value, with underscores.
    """

    def __init__(self, message: str, name: str):
        super().__init__(message)
        self.name = name


def load_config(
    schema: type[Schema], words: Sequence[str] = (), default: str | None = None
) -> Schema:
    """Reads a config from command-line arguments.

    Args:
        schema: the dataclass to fill.
        words: `a.b=c` overrides; each `config=FILE` is a YAML file that overrides earlier ones.
            Overrides take precedence over all files, regardless of their order.
        default: the YAML file used if `words` name none; None = the dataclass's defaults.

    Raises:
        FileNotFoundError: a YAML file that does not exist.
        DashedWordError: an argument that starts with dashes.
        RenamedOptionError: a renamed key; the message has its new name.
        UnknownOptionError: an unknown key; the message has the nearest known one.
        ValueError: an argument without "=", a value of another type, a number that is not finite or
            out of range, or an empty `output`, which would be the current folder.
    """
    config = OmegaConf.to_object(_merged(schema, words, default))
    check_numbers(config)
    output = getattr(config, "output", None)
    if isinstance(output, str) and not output.strip():
        raise ValueError(f"output={output}: name a folder; output=. is the current directory")
    return config


def default_values(
    schema: type, default: str | None = None, words: Sequence[str] = ()
) -> dict[str, Any]:
    """All options, nested, with their default values.

    Args:
        schema: the dataclass; it need not be valid without words.
        default: as in `load_config`.
        words: likewise.
    """
    return OmegaConf.to_container(_merged(schema, words, default))


def as_words(value: Any) -> str:
    """A value as written after `key=`, on one line."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).partition("\n")[0]


def _merged(schema: type, words: Sequence[str], default: str | None) -> DictConfig:
    paths, overrides = [], []
    for word in words:
        key, equals, value = word.partition("=")
        if key.startswith("-"):
            message = f"unknown option {word!r}; write OPTION=VALUE without dashes"
            raise DashedWordError(message, key.lstrip("-").replace("-", "_"))
        if not equals:
            raise ValueError(f"{word!r} is not an override; write key=value, such as frames=49")
        if key == "config":
            paths.append(value)
        else:
            overrides.append(word)
    # One by one: `split=later split.history=0.5` are two updates of the same section.
    typed = [(word, _parse(schema, word)) for word in overrides]
    paths = paths or ([] if default is None else [default])
    files = [layer for path in paths for layer in yaml_layers(path)]
    merged = _unlocked(OmegaConf.structured(schema))
    for origin, values in files:
        _leave_out(schema, origin, values)
    for origin, values in [*files, *typed]:
        refuse_renamed(schema, origin, values)
        try:
            values = as_text(schema, origin, _expand_kinds(schema, values))
            merged = OmegaConf.merge(merged, values)
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
    # Options that this command adds to those shared by several.
    bases = [base for base in type(config).__mro__[1:] if is_dataclass(base)]
    shared = {f.name for base in bases for f in fields(base)}
    own = [f.name for f in fields(config) if f.name not in shared]
    if bases and own:
        text = f"{OWN_OPTIONS}: [{', '.join(own)}]\n{text}"
    with atomic_write(path) as aside:
        aside.write_text(text)


def _leave_out(schema: type, origin: str, values: dict) -> None:
    """Removes from a saved config the options that only the command that saved it has."""
    own = values.pop(OWN_OPTIONS, [])
    known = {f.name for f in fields(schema)}
    if foreign := [key for key in own if key in values and key not in known]:
        for key in foreign:
            del values[key]
        print(
            f"{origin}: ignored {', '.join(foreign)}, which only the command that saved it has",
            flush=True,
        )


def _parse(schema: type, word: str) -> dict:
    """One override as nested keys. Strings are verbatim: YAML would truncate them at a `#`."""
    path, _, text = word.partition("=")
    kind: Any = schema
    for key in path.split("."):
        kind = hints_of(kind).get(key) if is_dataclass(kind) else None
    if not (kind is str or (text != "null" and kind == str | None)):
        try:
            return OmegaConf.to_container(OmegaConf.from_dotlist([word]))
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            message = " ".join(str(error).split())
            raise ValueError(f"{word!r}: the value cannot be read as YAML: {message}") from error
    value: Any = text
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def yaml_layers(path: str | Path) -> list[tuple[str, dict]]:
    """The content of a YAML file, preceded by that of its base, of its base's base, and so on.

    Returns:
        (file, its own keys and values), the one at `path` last.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is not a YAML mapping, or a cycle of bases.
    """
    layers: list[tuple[str, dict]] = []
    read: list[Path] = []
    following: Path | None = Path(path)
    while following is not None:
        if any(_same_file(following, earlier) for earlier in read):
            circle = " -> ".join(str(one) for one in [*read, following])
            raise ValueError(f"circular bases of configs: {circle}")
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
        raise ValueError(f"{path} must hold keys and values, got {type(values).__name__}")
    return values


def _expand_kinds(schema: type, values: dict) -> dict:
    """Expands `section: name` to `section: {kind: name}` for sections with kinds."""
    expanded = dict(values)
    hints = hints_of(schema)
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

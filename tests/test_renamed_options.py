import pytest

from anchorweave.command import commands
from anchorweave.config import load_config
from anchorweave.option_help import options_of
from anchorweave.renamed_options import RENAMED, RenamedOptionError


@pytest.fixture(scope="module")
def schemas():
    """The options of every command, by name of its dataclass."""
    return {command.schema.__name__: command.schema for command in commands().values()}


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_key_is_refused_by_its_new_name(old, schemas, tmp_path):
    new = RENAMED[old]
    refused = 0
    for schema in schemas.values():
        keys = {option.key: option for option in options_of(schema)}
        # A section with a `kind` is written by its kind alone: `memory=global_cloud`.
        taken = old in keys and (not keys[old].is_section or f"{old}.kind" in keys)
        if taken or not new.keys() & keys.keys():
            continue
        refused += 1
        (tmp_path / "old.yaml").write_text(nested(old, "x"))
        (tmp_path / "over.yaml").write_text("base: old.yaml\n")
        files = [f"config={tmp_path / name}" for name in ("old.yaml", "over.yaml")]
        for word in (f"{old}=x", *files):
            with pytest.raises(RenamedOptionError) as error:
                load_config(schema, [word])
            assert f"{old} is now {next(iter(new))}" in str(error.value)
            assert all(key in str(error.value) for key in new)
            assert word.removeprefix("config=").replace("over", "old") in str(error.value)
    # Every new name is an option of some command.
    assert refused
    assert all(any(o.key == key for s in schemas.values() for o in options_of(s)) for key in new)


def nested(key, value):
    parts = key.split(".")
    lines = [f"{'  ' * i}{part}:" for i, part in enumerate(parts)]
    return "\n".join(lines) + f" {value}\n"


def test_several_old_keys_are_named_at_once(schemas):
    with pytest.raises(RenamedOptionError, match=r"network.path is now .*; network.controller is"):
        load_config(schemas["TrainConfig"], ["network={path: a, controller: new}"])


def test_a_section_of_an_old_name_is_no_old_key(schemas):
    made = load_config(schemas["MakeModelConfig"], ["backbone.layers=2", "model={path: a}"])
    assert (made.backbone.layers, made.model.path) == (2, "a")

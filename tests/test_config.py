from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from anchorweave.config import load_config, save_config
from anchorweave.run_config import RunConfig

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@dataclass(frozen=True)
class Section:
    kind: Literal["a", "b"] = "a"
    number: int = 1


@dataclass(frozen=True)
class Schema:
    section: Section = field(default_factory=Section)
    name: str = "x"
    path: str | None = "y"
    size: tuple[int, int] = (2, 3)


@dataclass(frozen=True)
class Choices:
    check: Literal["on", "off"] = "on"


@dataclass(frozen=True)
class Switches:
    check: Literal["warn", "on", "off"] = "warn"
    flag: bool = True
    name: str = ""
    maybe: str | None = None
    names: list[str] = field(default_factory=list)
    choices: Choices = field(default_factory=Choices)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_config_loads_and_opens_with_its_command(path):
    assert isinstance(load_config(RunConfig, [f"config={path}"]), RunConfig)
    assert path.read_text().startswith("# bash scripts/")


def test_words_come_last_and_a_file_comes_after_its_base(tmp_path):
    (tmp_path / "base.yaml").write_text("name: base\nsection: {number: 2}\n")
    (tmp_path / "one.yaml").write_text("base: base.yaml\nsection: {kind: b}\n")
    got = load_config(Schema, [f"config={tmp_path / 'one.yaml'}", "section.number=3"])
    assert got == Schema(Section("b", 3), "base")
    assert load_config(Schema, ["size=[4, 5]"]).size == (4, 5)
    assert load_config(Schema, [], str(tmp_path / "base.yaml")).section.number == 2


def test_several_files_come_one_over_the_other_and_words_over_all(tmp_path):
    (tmp_path / "base.yaml").write_text("name: base\nsize: [8, 9]\nsection: {number: 2}\n")
    (tmp_path / "row.yaml").write_text("base: base.yaml\nname: row\nsection: {kind: b}\n")
    (tmp_path / "asked.yaml").write_text("path: asked\nsection: {number: 7}\n")
    row, asked = (f"config={tmp_path / name}.yaml" for name in ("row", "asked"))
    got = load_config(Schema, [row, asked], "not_read.yaml")
    assert got == Schema(Section("b", 7), "row", "asked", (8, 9))
    # A word comes over the files wherever it stands.
    assert load_config(Schema, ["section.number=1", row, asked]).section.number == 1
    # The other way round: the row's base comes right before it, over what was asked.
    assert load_config(Schema, [asked, row]) == Schema(Section("b", 2), "row", "asked", (8, 9))
    save_config(got, tmp_path / "saved.yaml")
    assert load_config(Schema, [f"config={tmp_path / 'saved.yaml'}"]) == got


def test_of_several_files_the_wrong_one_is_named(tmp_path):
    (tmp_path / "one.yaml").write_text("name: one\n")
    (tmp_path / "two.yaml").write_text("section: {nummer: 3}\n")
    one, two = (f"config={tmp_path / name}.yaml" for name in ("one", "two"))
    with pytest.raises(ValueError, match=r"two.yaml: section.nummer.*Did you mean.*number"):
        load_config(Schema, [two, one])
    with pytest.raises(FileNotFoundError, match="three.yaml"):
        load_config(Schema, [one, f"config={tmp_path / 'three.yaml'}"])


def test_a_section_may_be_given_by_its_kind_alone(tmp_path):
    assert load_config(Schema, ["section=b"]).section == Section("b")
    (tmp_path / "one.yaml").write_text("section: b\n")
    got = load_config(Schema, [f"config={tmp_path / 'one.yaml'}", "section.number=9"])
    assert got.section == Section("b", 9)
    split = load_config(RunConfig, ["split=later", "split.history=0.5"]).split
    assert split.kind == "later" and split.history == 0.5


@pytest.mark.parametrize("text", ["a room # 1", "a kitchen: sunny", "12", "null", "[a", "x=y"])
def test_text_is_taken_as_it_stands(text):
    assert load_config(Schema, [f"name={text}"]).name == text


@pytest.mark.parametrize("word, value", [("off", "off"), ("on", "on"), ("'off'", "off")])
def test_a_choice_may_be_a_word_that_yaml_takes_for_a_boolean(tmp_path, word, value):
    (tmp_path / "one.yaml").write_text(f"check: {word}\nchoices: {{check: {word}}}\n")
    for words in (
        [f"config={tmp_path / 'one.yaml'}"],
        [f"check={word}", f"choices.check={word}"],
    ):
        got = load_config(Switches, words)
        assert got.check == got.choices.check == value
    assert load_config(Switches, ["flag=off"]).flag is False
    assert load_config(Switches, ["flag=yes"]).flag is True
    save_config(got, tmp_path / "saved.yaml")
    assert load_config(Switches, [f"config={tmp_path / 'saved.yaml'}"]) == got


@pytest.mark.parametrize("text", ["name: no", "names: [a, yes]", "maybe: off"])
def test_text_that_yaml_takes_for_a_boolean_is_refused_and_not_spelled_out(tmp_path, text):
    (tmp_path / "one.yaml").write_text(f"{text}\n")
    with pytest.raises(ValueError, match=r"one.yaml: .*: YAML reads .* put it in quotes"):
        load_config(Switches, [f"config={tmp_path / 'one.yaml'}"])
    assert load_config(Switches, ["name=no", "maybe=off"]).maybe == "off"


def test_checking_can_be_switched_off():
    assert load_config(RunConfig, ["check=off"]).check == "off"


def test_null_is_nothing_where_nothing_is_allowed():
    assert load_config(Schema, ["path=null"]).path is None
    assert load_config(Schema, ["path=a # b"]).path == "a # b"


@pytest.mark.parametrize(
    "word, message",
    [
        ("nome=y", "nome.*Did you mean.*name"),
        ("section.nummer=3", "section.nummer.*Did you mean.*number"),
        ("section.number=much", "section.number.*Integer"),
        ("section=c", "section.*'c'"),
        ("size=[1,2,3]", "size|length 3"),
        ("frames", "write key=value"),
    ],
)
def test_a_word_that_fits_nothing_is_refused(word, message):
    with pytest.raises(ValueError, match=message):
        load_config(Schema, [word])


def test_a_file_that_fits_nothing_is_refused_by_name(tmp_path):
    file = tmp_path / "one.yaml"
    file.write_text("nome: y\n")
    with pytest.raises(ValueError, match="one.yaml.*nome"):
        load_config(Schema, [f"config={file}"])
    file.write_text("- a\n- b\n")
    with pytest.raises(ValueError, match="one.yaml must hold keys and values"):
        load_config(Schema, [f"config={file}"])
    file.write_text("name: [\n")
    with pytest.raises(ValueError, match="one.yaml is not valid YAML"):
        load_config(Schema, [f"config={file}"])
    with pytest.raises(FileNotFoundError, match="nothing.yaml"):
        load_config(Schema, [f"config={tmp_path / 'nothing.yaml'}"])


def test_a_base_may_have_a_base(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text("name: a\nsize: [1, 2]\nsection: {number: 1, kind: b}\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\nname: b\nsection: {number: 2}\n")
    (tmp_path / "sub" / "c.yaml").write_text("base: ../b.yaml\nname: c\n")
    got = load_config(Schema, [f"config={tmp_path / 'sub' / 'c.yaml'}"])
    assert (got.name, got.section.number, got.section.kind) == ("c", 2, "b")


def test_bases_in_a_circle_are_printed(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: ./a.yaml\n")
    circle = r"circular bases of configs: .*a\.yaml -> .*b\.yaml -> .*a\.yaml"
    with pytest.raises(ValueError, match=circle):
        load_config(Schema, [f"config={tmp_path / 'a.yaml'}"])


@dataclass(frozen=True)
class OneJob(RunConfig):
    row: str = "row"
    pictures: bool | None = None


@dataclass(frozen=True)
class OtherJob(RunConfig):
    colour: str = "red"


def test_a_saved_config_serves_every_command_that_shares_its_options(tmp_path, capsys):
    file = tmp_path / "config.yaml"
    save_config(OneJob(frames=9, row="mine", pictures=True), file)
    assert load_config(OneJob, [f"config={file}"]) == OneJob(frames=9, row="mine", pictures=True)
    assert capsys.readouterr().out == ""
    assert load_config(RunConfig, [f"config={file}"]) == RunConfig(frames=9)
    assert load_config(OtherJob, [f"config={file}", "colour=blue"]).colour == "blue"
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{file}: ignored row, pictures, which only the command that saved it has"] * 2
    # What nobody's option is stays an error.
    file.write_text(file.read_text() + "colours: 3\n")
    with pytest.raises(ValueError, match="colours"):
        load_config(RunConfig, [f"config={file}"])
    save_config(RunConfig(), file)
    assert "own_options" not in file.read_text()


def test_a_saved_config_loads_as_it_was(tmp_path):
    config = load_config(RunConfig, ["split=later", "frames=9", "memory.path=somewhere"])
    save_config(config, tmp_path / "config.yaml")
    assert load_config(RunConfig, [f"config={tmp_path / 'config.yaml'}"]) == config


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--frames=49", "unknown option '--frames=49'; write OPTION=VALUE without dashes"),
        ("-frames", "unknown option '-frames'; write OPTION=VALUE without dashes"),
        ("frames", "'frames' is not an override; write key=value"),
        ("output=", "output=: name a folder; output=. is the current directory"),
    ],
)
def test_words_that_are_no_overrides_are_refused(word, message):
    with pytest.raises(ValueError) as refused:
        load_config(RunConfig, [word])
    assert message in str(refused.value)

"""Runs the stages of a recipe in order; run again, it continues where it stopped.

    python -m training.recipe                                   # anchorweave-tiny, from scratch
    python -m training.recipe config=configs/anchorweave_tiny/ablations.yaml
    python -m training.recipe from=controller                   # run this stage and those after it
    python -m training.recipe until=vae                         # stop after this stage

Writes recipe.json to `output`: when each stage started, the seconds it took (summed over all runs),
and how it ended. Finished stages are skipped. Ctrl-C or SIGTERM asks the running stage to stop,
which lets training save first; the next run continues that stage.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from itertools import product
from pathlib import Path
from typing import Any

from anchorweave.command import Command
from anchorweave.config import load_config, yaml_layers
from anchorweave.datasets.fingerprint import differences, digest
from anchorweave.files import atomic_write
from training.recipes.running_stages import RunningStages
from training.recipes.stage_inputs import changed, config_values, inputs

DEFAULT = "configs/anchorweave_tiny/recipe.yaml"
STATE, LOCK = "recipe.json", "recipe.lock"
OWN_WORDS = {
    "from=STAGE": "run this stage and those after it, even if they are done",
    "until=STAGE": "stop after this stage",
}


@dataclass(frozen=True)
class Stage:
    """One stage: a command.

    Args:
        name: name of the stage.
        module: what `python -m` runs, such as training.train.
        words: its command-line words, `a.b=c`.
        processes: number of processes (torch.distributed.run); 1 = run it directly.
        beside: whether the following stages start while it is running.
        after: earlier stages that must be done before this one starts; all stages without `beside`
            are done in any case.
        each: name -> values: expands to one stage for every combination of them, in whose name
            and words `{name}` is replaced by the value.
    """

    name: str = ""
    module: str = ""
    words: list[str] = field(default_factory=list)
    processes: int = 1
    beside: bool = False
    after: list[str] = field(default_factory=list)
    each: dict[str, list[Any]] = field(default_factory=dict)

    def every(self) -> list[Stage]:
        """The stages it expands to; the last name's values change fastest.

        Raises:
            ValueError: a name in braces that `each` does not define, or combinations that give two
                stages the same name.
        """
        if not self.each:
            return [self]
        stages = []
        for values in product(*self.each.values()):
            replacements = dict(zip(self.each, values, strict=True))
            try:
                name = self.name.format(**replacements)
                words = [word.format(**replacements) for word in self.words]
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(
                    f"stage {self.name}: {error} in braces is none of each={list(self.each)}"
                ) from error
            stages.append(replace(self, name=name, words=words, each={}))
        return stages

    def command(self) -> list[str]:
        """The words after `python`."""
        launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(self.processes)]
        return [*(launch if self.processes > 1 else ()), "-m", self.module, *self.words]


@dataclass(frozen=True)
class RecipeConfig:
    """A list of stages.

    Args:
        output: the folder for recipe.json.
        stages: in the order of execution.

    Raises:
        ValueError: no stages, duplicate names, a stage without a name or module, or one that must
            run after a stage that does not precede it.
    """

    output: str = "outputs/recipe"
    stages: list[Stage] = field(default_factory=list)

    def __post_init__(self):
        stages = [expanded for stage in self.stages for expanded in stage.every()]
        object.__setattr__(self, "stages", stages)
        names = [stage.name for stage in stages]
        if not names:
            raise ValueError("stages=[]: a recipe needs at least one stage")
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two stages are named {', '.join(sorted(twice))}; rename one")
        for i, stage in enumerate(self.stages):
            if not stage.name or not stage.module or stage.processes < 1:
                raise ValueError(f"{stage}: a stage needs a name, a module and 1 or more processes")
            if later := set(stage.after) - set(names[:i]):
                raise ValueError(
                    f"stage {stage.name} must run after {', '.join(sorted(later))}, which does not "
                    "precede it"
                )


def main(words: Sequence[str]) -> None:
    """Runs or continues a recipe, with `a.b=c` overrides, `from=STAGE` and `until=STAGE`."""
    own = dict.fromkeys(word.partition("=")[0] for word in OWN_WORDS)
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        if key in own:
            own[key] = value
        else:
            rest.append(word)
    config = load_config(RecipeConfig, rest, DEFAULT)
    recipe = Recipe(config)
    recipe.lock()
    if own["from"] is not None:
        recipe.forget_from(own["from"])
    recipe.refuse_changed()
    asked = recipe.stages_until(own["until"])
    recipe.run(asked)
    total = sum(recipe.seconds(stage) for stage in asked)
    which = "all" if len(asked) == len(config.stages) else "the first"
    print(f"{which} {len(asked)} stages are done: {total:.0f} s, summed over stages", flush=True)


class Recipe:
    """The state of a recipe on disk.

    Args:
        config: its stages.
    """

    def __init__(self, config: RecipeConfig):
        self.config = config
        self.path = Path(config.output) / STATE
        self._records: dict[str, dict] = {}
        if self.path.exists():
            self._records = json.loads(self.path.read_text())

    def lock(self) -> None:
        """Keeps others out until this process and the stage it runs have ended.

        Raises:
            BlockingIOError: another recipe, or a stage that outlived it, is running in the folder.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path.parent / LOCK).open("w")
        try:
            # The lock is tied to the open file, which the stage inherits.
            flock(self._lock, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"{self.path.parent}: another recipe, or a stage of a killed one, is still "
                "running here; wait for it, or stop it"
            ) from error

    def is_done(self, stage: Stage) -> bool:
        """Whether the stage ended successfully."""
        return self._records.get(stage.name, {}).get("exit") == 0

    def seconds(self, stage: Stage) -> float:
        """Total time of all its runs."""
        return self._records[stage.name]["seconds"]

    def forget_from(self, name: str) -> None:
        """Marks the stage and those after it as not started; their files are not touched.

        Raises:
            ValueError: no such stage.
        """
        for stage in self.config.stages[self._place("from", name) :]:
            self._records.pop(stage.name, None)

    def stages_until(self, name: str | None) -> list[Stage]:
        """The stages up to the named one; None = all.

        Raises:
            ValueError: no such stage.
        """
        if name is None:
            return self.config.stages
        return self.config.stages[: self._place("until", name) + 1]

    def refuse_changed(self) -> None:
        """Checks that started stages have not changed.

        Raises:
            ValueError: a stage whose command, config values or inputs have changed; the message
                says which ones, and how to continue.
        """
        for stage in self.config.stages:
            record = self._records.get(stage.name)
            if record is None:
                continue
            # Records of an older version lack later options of stages.
            before = Stage(**record["stage"])
            if before == stage and record["config"] != config_digest(stage):
                # Recipes started by an older version stored no values.
                values = config_values(stage.words)
                differ = differences(record.get("values", values), values)
                raise ValueError(
                    f"stage {stage.name}: its config file has changed since it was "
                    f"run{': ' if differ else ''}{'; '.join(differ)}. Restore the old values, or "
                    f"redo it and all after it with from={stage.name} (files that it wrote stay: "
                    "remove them, or give the stage another output=)"
                )
            if before != stage:
                raise ValueError(
                    f"stage {stage.name} was run with other words: {shlex.join(before.command())}; "
                    f"now: {shlex.join(stage.command())}. Restore the old words, or redo it and "
                    f"all after it with from={stage.name} (files that it wrote stay: remove them, "
                    "or give the stage another output=)"
                )
            if differ := changed(record.get("inputs", {}), inputs(stage.words)):
                raise ValueError(
                    f"stage {stage.name}: its inputs have changed since it was run: "
                    f"{'; '.join(differ)}. Restore them, or redo the stage and all after it with "
                    f"from={stage.name} (files that it wrote stay: remove them, or give the stage "
                    "another output=)"
                )

    def run(self, stages: Sequence[Stage]) -> None:
        """Runs all stages that are not done.

        Raises:
            SystemExit: a stage failed, or the recipe was asked to stop.
        """
        running = RunningStages(self._note, self._lock.fileno())
        with running.passing_signals_on():
            for stage in stages:
                if self.is_done(stage):
                    print(f"{stage.name}: done, {self.seconds(stage):.0f} s", flush=True)
                    continue
                running.wait_for(stage.after)
                self._begin(stage)
                print(f"{stage.name}: python {shlex.join(stage.command())}", flush=True)
                running.start(stage.name, stage.command())
                if not stage.beside:
                    running.wait_for([stage.name])
            running.wait_for([stage.name for stage in stages])

    def _place(self, word: str, name: str) -> int:
        names = [stage.name for stage in self.config.stages]
        if name not in names:
            raise ValueError(f"{word}={name} is not one of the stages: {', '.join(names)}")
        return names.index(name)

    def _begin(self, stage: Stage) -> None:
        first = {
            "stage": asdict(stage),
            "config": config_digest(stage),
            "values": config_values(stage.words),
            "inputs": inputs(stage.words),
            "began": datetime.now().isoformat("T", "seconds"),
            "seconds": 0.0,
        }
        self._records[stage.name] = first | self._records.get(stage.name, {}) | {"exit": None}

    def _note(self, name: str, seconds: float, ended: int | str | None) -> None:
        record = self._records[name]
        record["seconds"] += seconds
        record["exit"] = ended
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path) as aside:
            aside.write_text(json.dumps(self._records, indent=1) + "\n")


def config_digest(stage: Stage) -> str:
    """A digest of a stage's YAML files and their bases."""
    contents = []
    for word in stage.words:
        if word.startswith("config="):
            contents += [
                values for _, values in reversed(yaml_layers(word.removeprefix("config=")))
            ]
    return digest(contents)


COMMAND = Command(main, RecipeConfig, DEFAULT, also=OWN_WORDS)

if __name__ == "__main__":
    COMMAND.run()

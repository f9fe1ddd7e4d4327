"""Run the stages of a recipe one after the other; run again, go on where it stopped.

    python -m training.recipe                                   # anchorweave-tiny, from nothing
    python -m training.recipe config=configs/anchorweave_tiny/ablations.yaml
    python -m training.recipe from=controller                   # run this stage and those after it

Writes recipe.json to `output`: when each stage began, the seconds it took (summed over all goes),
and how it ended. A stage that is done is skipped. Ctrl-C or SIGTERM asks the stage at work to stop,
which lets a training save first; the next run goes on with that stage.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1, Signals, signal

import yaml

from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import digest
from anchorweave.files import written_aside

DEFAULT = "configs/anchorweave_tiny/recipe.yaml"
STATE, LOCK = "recipe.json", "recipe.lock"
# So much of a stage's time is lost from the sum at most when the recipe itself is killed.
NOTE_SECONDS = 30.0


@dataclass(frozen=True)
class Stage:
    """One command.

    Args:
        name: what the stage is called.
        module: what `python -m` runs, such as training.train.
        words: its words, `a.b=c`.
        processes: how many of it work together (torch.distributed.run); 1 = it runs alone.
    """

    name: str = ""
    module: str = ""
    words: list[str] = field(default_factory=list)
    processes: int = 1

    def command(self) -> list[str]:
        """The words after `python`."""
        launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(self.processes)]
        return [*(launch if self.processes > 1 else ()), "-m", self.module, *self.words]


@dataclass(frozen=True)
class RecipeConfig:
    """A list of stages.

    Args:
        output: the folder for recipe.json.
        stages: in the order they are run.

    Raises:
        ValueError: no stages, two of one name, or one without a name or module.
    """

    output: str = "outputs/recipe"
    stages: list[Stage] = field(default_factory=list)

    def __post_init__(self):
        names = [stage.name for stage in self.stages]
        if not names:
            raise ValueError("stages=[]: a recipe has at least one stage")
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two stages are called {', '.join(sorted(twice))}; rename one")
        for stage in self.stages:
            if not stage.name or not stage.module or stage.processes < 1:
                raise ValueError(f"{stage}: a stage has a name, a module and 1 or more processes")


def main(words: Sequence[str]) -> None:
    """Run or go on with a recipe, with `a.b=c` overrides and `from=STAGE`."""
    redo = [word.partition("=")[2] for word in words if word.startswith("from=")]
    config = load_config(
        RecipeConfig, [word for word in words if not word.startswith("from=")], DEFAULT
    )
    recipe = Recipe(config)
    recipe.lock()
    if redo:
        recipe.forget_from(redo[-1])
    recipe.refuse_changed()
    for stage in config.stages:
        if recipe.is_done(stage):
            print(f"{stage.name}: done, {recipe.seconds(stage):.0f} s", flush=True)
            continue
        recipe.run(stage)
    total = sum(recipe.seconds(stage) for stage in config.stages)
    print(f"all {len(config.stages)} stages are done: {total:.0f} s in all", flush=True)


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
        """Keep others off until this process and the stage that it runs have ended.

        Raises:
            BlockingIOError: a recipe, or a stage that outlived it, is at work in the folder.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path.parent / LOCK).open("w")
        try:
            # The lock goes with the open file, which the stage inherits.
            flock(self._lock, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"{self.path.parent}: another recipe, or a stage of one that was killed, is still "
                "at work here; wait for it, or stop it"
            ) from error

    def is_done(self, stage: Stage) -> bool:
        """Whether the stage ended well."""
        return self._records.get(stage.name, {}).get("exit") == 0

    def seconds(self, stage: Stage) -> float:
        """That all its goes took."""
        return self._records[stage.name]["seconds"]

    def forget_from(self, name: str) -> None:
        """Count the stage and those after it as not begun; their files stay where they are.

        Raises:
            ValueError: no such stage.
        """
        names = [stage.name for stage in self.config.stages]
        if name not in names:
            raise ValueError(f"from={name} is none of the stages: {', '.join(names)}")
        for later in names[names.index(name) :]:
            self._records.pop(later, None)

    def refuse_changed(self) -> None:
        """Stages that were begun stay as they are.

        Raises:
            ValueError: a stage whose command is another now, and how to go on.
        """
        for stage in self.config.stages:
            there = self._records.get(stage.name)
            if there is None:
                continue
            if there["stage"] == asdict(stage) and there["config"] != config_digest(stage):
                raise ValueError(
                    f"stage {stage.name}: its config file says something else than when it was "
                    f"run. Give the old values back, or redo it and all after it with "
                    f"from={stage.name} (files that it wrote stay: remove them, or give the stage "
                    "another output=)"
                )
            if there["stage"] != asdict(stage):
                before = Stage(**there["stage"])
                raise ValueError(
                    f"stage {stage.name} was run by other words: {shlex.join(before.command())}; "
                    f"now: {shlex.join(stage.command())}. Give the old words back, or redo it and "
                    f"all after it with from={stage.name} (files that it wrote stay: remove them, "
                    "or give the stage another output=)"
                )

    def run(self, stage: Stage) -> None:
        """Run one stage to its end.

        Raises:
            SystemExit: the stage failed, or was told to stop.
        """
        record = self._records.setdefault(
            stage.name,
            {
                "stage": asdict(stage),
                "config": config_digest(stage),
                "began": datetime.now().isoformat("T", "seconds"),
            },
        )
        record |= {"seconds": record.get("seconds", 0.0), "exit": None}
        print(f"{stage.name}: python {shlex.join(stage.command())}", flush=True)
        before, began = record["seconds"], time.monotonic()
        # A group of its own: Ctrl-C in a terminal reaches the recipe alone, which passes it on.
        process = subprocess.Popen(
            [sys.executable, *stage.command()],
            start_new_session=True,
            pass_fds=[self._lock.fileno()],
        )
        with _passed_on(process) as told:
            while process.poll() is None:
                record["seconds"] = before + time.monotonic() - began
                self._write()
                try:
                    process.wait(NOTE_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        record["seconds"] = before + time.monotonic() - began
        # A training that was told to stop saves and ends well, but it is not done.
        record["exit"] = f"stopped by {told[0]}" if told else process.returncode
        self._write()
        if told:
            sys.exit(f"{stage.name}: stopped by {told[0]}; run the recipe again to go on with it")
        if process.returncode:
            sys.exit(
                f"{stage.name}: failed with exit code {process.returncode}, see above; run the "
                "recipe again to go on with it"
            )

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(self.path) as aside:
            aside.write_text(json.dumps(self._records, indent=1) + "\n")


def config_digest(stage: Stage) -> str:
    """A short name for what the YAML files of a stage, and those they stand on, say."""
    said = []
    for word in stage.words:
        path = Path(word.removeprefix("config=")) if word.startswith("config=") else None
        while path is not None:
            values = yaml.safe_load(path.read_text()) or {}
            said.append(values)
            path = path.parent / values["base"] if "base" in values else None
    return digest(said)


@contextmanager
def _passed_on(process: subprocess.Popen) -> Iterator[list[str]]:
    """Inside, a signal to stop goes to the stage as SIGTERM, which trainings save at."""
    told: list[str] = []

    def tell(number: int, frame: object) -> None:
        told.append(Signals(number).name)
        process.terminate()

    before = {each: signal(each, tell) for each in (SIGINT, SIGTERM, SIGUSR1, SIGHUP)}
    try:
        yield told
    finally:
        for each, handler in before.items():
            signal(each, handler)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Which recipe stages make the missing inputs of a table's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anchorweave.config import load_config
from inference.write_recordings import WriteConfig
from training.ablations.table import AblationTable, PlannedRow
from training.options.training import TrainConfig
from training.recipe import Recipe, RecipeConfig, Stage

TRAINING = "training.train"
# Modules that make inputs of rows; other stages prepare inputs of trainings.
MAKERS = {TRAINING: TrainConfig, "inference.write_recordings": WriteConfig}


def lacking_stages(table: AblationTable, rows: Sequence[PlannedRow]) -> dict[str, list[Stage]]:
    """Recipe -> those of its stages that make missing inputs of rows.

    Raises:
        ValueError: the table names a stage that its recipe does not have.
    """
    lacking = {path for row in rows for path in row.reads().values() if not Path(path).exists()}
    work: dict[str, list[Stage]] = {}
    if not lacking:
        return work
    by_recipe = {recipe: stages_of(table, recipe) for recipe in table.made_by}
    # One recipe may prepare what another recipe's stages train on.
    trains = any(
        stage.module == TRAINING and lies_in(lacking, output_of(stage))
        for stages in by_recipe.values()
        for stage in stages
    )
    for recipe, stages in by_recipe.items():
        needed = [
            stage
            for stage in stages
            if lies_in(lacking, output_of(stage)) or (trains and stage.module not in MAKERS)
        ]
        if needed:
            work[recipe] = needed
    return work


def stages_of(table: AblationTable, recipe: str) -> list[Stage]:
    """The stages of a recipe that a table names, in the table's order.

    Raises:
        ValueError: the recipe has no such stage.
    """
    stages = {stage.name: stage for stage in load_config(RecipeConfig, [f"config={recipe}"]).stages}
    if unknown := [name for name in table.made_by[recipe] if name not in stages]:
        raise ValueError(f"{recipe} has no stage {unknown}; it has {', '.join(stages)}")
    return [stages[name] for name in table.made_by[recipe]]


def output_of(stage: Stage) -> str | None:
    """The folder with the stage's output, if rows can read it; else None."""
    if stage.module not in MAKERS:
        return None
    return load_config(MAKERS[stage.module], stage.words).output


def lies_in(paths: set[str], folder: str | None) -> bool:
    """Whether any of the paths is the folder or inside it."""
    return folder is not None and any(Path(path).is_relative_to(folder) for path in paths)


def run_stages(recipe: str, stages: Sequence[Stage]) -> None:
    """Runs or resumes stages of a recipe; those recorded as done are skipped."""
    config = replace(load_config(RecipeConfig, [f"config={recipe}"]), stages=list(stages))
    state = Recipe(config)
    state.lock()
    state.refuse_changed()
    for stage in stages:
        if state.is_done(stage):
            print(f"{stage.name}: done, {state.seconds(stage):.0f} s", flush=True)
        else:
            state.run([stage])


def refuse_without_weights(
    rows: Sequence[PlannedRow], table: AblationTable, work: dict[str, list[Stage]]
) -> None:
    """Checks that rows have their weights, except those that the stages of `work` will make.

    Raises:
        FileNotFoundError: missing weights, and what makes them.
    """
    coming = [output_of(stage) for stages in work.values() for stage in stages]
    for row in rows:
        for key, path in row.weights().items():
            if Path(path).exists() or any(lies_in({path}, output) for output in coming):
                continue
            raise FileNotFoundError(
                f"row {row.name}: {key}={path} is not there; {_maker(table, path)}"
            )


def _maker(table: AblationTable, path: str) -> str:
    for recipe in table.made_by:
        for stage in stages_of(table, recipe):
            if lies_in({path}, output_of(stage)):
                return (
                    f"{stage.name} makes it, which {recipe} notes as done: python -m "
                    f"training.recipe config={recipe} from={stage.name} does it again, unless the "
                    "row names another step than the training's last"
                )
    return f"{table.stands_on} makes it"

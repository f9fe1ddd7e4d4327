"""Starts or resumes an exploration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anchorweave.memory import Bank
from inference.explorer.config import ExploreConfig
from inference.explorer.state import Explored, load_state, save_state
from inference.runs.output import bank_path, begin_memory
from inference.runs.scale import bank_unit
from inference.runs.source import open_source, prompt_of, seen_clip

# Scene unit of an empty memory, or one without depth.
NO_UNIT = 1.0


def begin(config: ExploreConfig) -> tuple[Explored, str]:
    """The exploration's state, saved to disk, and its default prompt.

    Raises:
        ValueError: the output folder belongs to another memory.
    """
    output = Path(config.output)
    state = load_state(output)
    if state is not None:
        return _go_on(config, state), _prompt(config)
    root, kind = bank_path(config), config.memory.kind
    if config.memory.path is None:
        recording = open_source(config)
        begin_memory(config).update(
            seen_clip(config, recording, range(0, len(recording), config.every))
        )
        prompt = prompt_of(config, recording)[0]
    else:
        prompt = prompt_of(config, None)[0]
    state = Explored(str(root), _unit(Bank(root)), kind, kind)
    save_state(state, output)
    return state, prompt


def _go_on(config: ExploreConfig, state: Explored) -> Explored:
    root = bank_path(config)
    if Path(state.root).resolve() != root.resolve():
        raise ValueError(
            f"{config.output} explores the memory {state.root}, but this run {root}; set another "
            "output="
        )
    if state.asked != config.memory.kind:
        state = replace(state, asked=config.memory.kind, kind=config.memory.kind)
        save_state(state, Path(config.output))
    return state


def _prompt(config: ExploreConfig) -> str:
    if config.memory.path is not None or config.sampling.prompt is not None:
        return prompt_of(config, None)[0]
    return prompt_of(config, open_source(config))[0]


def _unit(bank: Bank) -> float:
    if not len(bank):
        return NO_UNIT
    try:
        return bank_unit(bank)
    except ValueError:
        # Frames without depth can be explored too; lengths are then in the recording's unit.
        return NO_UNIT

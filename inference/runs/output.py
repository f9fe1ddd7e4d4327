"""The output folder of a run, and its memory bank."""

from __future__ import annotations

from pathlib import Path

from anchorweave.memory import Bank, Memory, open_memory
from anchorweave.memory.removal import own_files, remove_bank
from anchorweave.run_config import RunConfig

# A rollout's state, which marks its folder; and its config.
ROLLOUT, CONFIG = "rollout.json", "config.yaml"
# The bank in the output folder.
MEMORY = "memory"


def bank_path(config: RunConfig) -> Path:
    """Path of the run's memory bank."""
    return Path(config.memory.path or Path(config.output) / MEMORY)


def open_bank(config: RunConfig) -> Bank:
    """Opens the run's memory bank.

    Raises:
        ValueError: frames of another size than the run's.
    """
    bank = Bank(bank_path(config))
    if len(bank) and bank.cameras.size != tuple(config.size):
        raise ValueError(
            f"the memory bank {bank.path} holds frames of {bank.cameras.size} (height, width), but "
            f"size={list(config.size)}; use the same size, or another memory.path"
        )
    return bank


def begin_memory(config: RunConfig) -> Memory:
    """An empty memory for a new run; deletes the bank of an earlier run.

    Raises:
        ValueError: as for `check_output`.
    """
    check_output(config)
    if config.memory.path is None:
        remove_bank(bank_path(config))
    return memory_over(config, open_bank(config))


def check_output(config: RunConfig) -> None:
    """Rejects output folders where a new run would delete something else; changes nothing.

    Raises:
        ValueError: the output folder holds a rollout, `memory.path` a non-empty bank, or the bank's
            path something that this program did not write.
    """
    output = Path(config.output)
    if (output / ROLLOUT).exists():
        raise ValueError(f"{output} holds a rollout, whose memory would be lost; set output=")
    if config.memory.path is not None and len(open_bank(config)):
        raise ValueError(
            f"memory.path={config.memory.path} already holds frames, which may include the "
            "target; set an empty folder (use a rollout to continue from a memory)"
        )
    if config.memory.path is None:
        own_files(bank_path(config))


def memory_over(config: RunConfig, bank: Bank) -> Memory:
    """The run's memory system over a bank."""
    return open_memory(bank, config.memory, config.retrieval, config.rendering)

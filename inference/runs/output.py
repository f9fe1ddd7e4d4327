"""The output folder of a run, and the memory that the run writes to."""

from __future__ import annotations

from pathlib import Path

from anchorweave.memory import Bank, Memory, open_memory
from anchorweave.memory.removal import own_files, remove_bank
from anchorweave.run_config import RunConfig

# Where a rollout stands; a folder that holds it belongs to that rollout. And what it was asked for.
ROLLOUT, CONFIG = "rollout.json", "config.yaml"
# The bank in the output folder.
MEMORY = "memory"


def bank_path(config: RunConfig) -> Path:
    """Where the run's memory bank lies."""
    return Path(config.memory.path or Path(config.output) / MEMORY)


def open_bank(config: RunConfig) -> Bank:
    """The run's memory bank as it stands.

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
    """An empty memory for a run that starts anew; the bank of an earlier such run is removed.

    Raises:
        ValueError: as `check_output`.
    """
    check_output(config)
    if config.memory.path is None:
        remove_bank(bank_path(config))
    return memory_over(config, open_bank(config))


def check_output(config: RunConfig) -> None:
    """Refuse a place where a run that starts anew would take something away; changes nothing.

    Raises:
        ValueError: the output folder holds a rollout, `memory.path` a bank with frames in it, or
            the place of the bank something that no run of this program put there.
    """
    output = Path(config.output)
    if (output / ROLLOUT).exists():
        raise ValueError(f"{output} holds a rollout, whose memory would be lost; set output=")
    if config.memory.path is not None and len(open_bank(config)):
        raise ValueError(
            f"memory.path={config.memory.path} holds frames already, and the target may be among "
            "them; name an empty folder (a rollout is what continues a memory)"
        )
    if config.memory.path is None:
        own_files(bank_path(config))


def memory_over(config: RunConfig, bank: Bank) -> Memory:
    """The memory system of the run over a bank."""
    return open_memory(bank, config.memory, config.retrieval, config.rendering)

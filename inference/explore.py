"""Explore a memory in the browser: look around, draw a path, see retrievals, generate, edit.

    python -m inference.explore
    python -m inference.explore memory.path=outputs/tiny/memory output=outputs/explorer_tiny
    python -m inference.explore memory.path=outputs/rollout/memory config=configs/cogvideox_5b.yaml

Starts from frames of a recording, or from the memory at `memory.path`, which stays unchanged; every
accepted segment and every edit is a new version in `output`, which any run can continue
(memory.path=OUTPUT/memories/NNNN). Running it again resumes the exploration. Prints the address;
Ctrl-C stops it.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.errors import ToldError
from anchorweave.locks import in_use, refuse_in_use
from inference.explorer.config import ExploreConfig
from inference.explorer.networks import Networks
from inference.explorer.page.whole import Page, wait
from inference.explorer.session import Session
from inference.explorer.state import STATE
from inference.runs.output import bank_path
from inference.runs.source import posed

DEFAULT = "configs/tiny.yaml"
# Overrides the main job's results folder, and every YAML file.
PRESET = ("output=outputs/explorer",)


def main(words: list[str]) -> None:
    """Serves the explorer with `a.b=c` overrides, until it is stopped."""
    config = posed(load_config(ExploreConfig, [*PRESET, *words], DEFAULT))
    console = Console()
    with ExitStack() as held:
        held.enter_context(in_use(config.output))
        if config.memory.path is None and not (Path(config.output) / STATE).exists():
            # What is there is about to be removed.
            refuse_in_use(bank_path(config))
        session = Session(config)
        networks = Networks(config)
        page = Page(session, networks, config.host, config.port)
        held.callback(page.stop)
        frames = f"{len(session.bank)} frames, version {session.state.current}"
        console.print(f"memory: {session.bank.path} ({frames})", markup=False, soft_wrap=True)
        console.print(f"open {page.address} in a browser; Ctrl-C stops it", soft_wrap=True)
        threading.Thread(target=_load, args=(networks, page, console), daemon=True).start()
        wait()


def _load(networks: Networks, page: Page, console: Console) -> None:
    """Loads whatever takes long, while the page is already usable."""
    session = page.session
    if len(session.bank):
        # Compile retrieval before the first use.
        session.look(session.view(session.start.c2w))
        # Reading the views that a click in the scene needs takes seconds for many frames.
        session.look_along(session.start.centres, session.start.c2w[:3, 2][None])
    try:
        _, weights = networks.get()
    except (ValueError, OSError, ToldError) as error:
        console.print(f"nothing can be generated: {error}", markup=False, soft_wrap=True)
        page.shared.tell("Nothing can be generated", str(error), wrong=True)
        return
    console.print(weights, markup=False, soft_wrap=True)


COMMAND = Command(main, ExploreConfig, DEFAULT, preset=PRESET)

if __name__ == "__main__":
    COMMAND.run()

"""The page in a real browser: a headless Chromium, which draws by software.

Every step is asked of the page and looked up on disk. EXPLORER_SCREENSHOTS=FOLDER keeps pictures.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from anchorweave.memory import Bank, LocalClouds
from anchorweave.recordings import open_recording
from tests.rooms import look, view_room, walk

ROOT = Path(__file__).parents[3]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell"))), None)
SIZE, FRAMES, REMEMBERED = (64, 96), 9, 8
# Chromium on a busy machine without a GPU; nothing here waits for as long as that.
PATIENCE = 240.0
SOFTWARE = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium (Debian: apt-get install chromium)"
)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright (pip install playwright)"
)


class Explorer:
    """`python -m inference.explore` over a small memory, with the embedded model."""

    def __init__(self, folder: Path):
        self.folder, self.output = folder, folder / "out"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log.txt"
        self.process: subprocess.Popen | None = None

    def start(self, *words) -> None:
        command = [
            *(sys.executable, "-u", "-m", "inference.explore", f"output={self.output}"),
            *(f"memory.path={self.folder / 'bank'}", f"port={self.port}", f"frames={FRAMES}"),
            *(f"size={list(SIZE)}", "sampling.steps=2", "points=20000"),
            *words,
        ]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        until(lambda: self.address in self.log.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def kill(self) -> None:
        """At once, as the kernel would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def state(self) -> dict:
        return json.loads((self.output / "explorer.json").read_text())

    def bank(self) -> Bank:
        current = self.state["current"]
        folder = self.output / "memories" / f"{current:04d}" if current else self.folder / "bank"
        return Bank(folder)


def until(holds, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE)
        yield chromium
        chromium.close()


@pytest.fixture
def explorer(tmp_path):
    LocalClouds(Bank(tmp_path / "bank")).update(walk(REMEMBERED, SIZE))
    explorer = Explorer(tmp_path)
    yield explorer
    if explorer.process is not None and explorer.process.poll() is None:
        explorer.process.terminate()
        explorer.process.wait(60)


def opened(browser, explorer):
    page = browser.new_page(viewport={"width": 1100, "height": 720})
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(explorer.address)
    # What is retrieved for the first view, and the networks' note at the other side.
    page.get_by_text(re.compile("of this view is remembered|No memory was chosen")).wait_for()
    return page


def tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def keep_picture(page, name):
    if folder := os.environ.get("EXPLORER_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", timeout=1000 * PATIENCE)


def test_drawn_generated_accepted_reverted_and_edited(browser, explorer):
    explorer.start()
    page = opened(browser, explorer)
    keep_picture(page, "1_opened")

    tab(page, "Draw")
    press(page, "Add keyframe")
    until(lambda: len(explorer.state["drawn"]["keyframes"]) == 1)
    press(page, "Undo")
    until(lambda: not explorer.state["drawn"]["keyframes"])
    press(page, "Append")
    until(lambda: len(explorer.state["drawn"]["keyframes"]) > 1)
    drawn = explorer.state["drawn"]
    keep_picture(page, "2_drawn")

    tab(page, "Generate")
    press(page, "Generate")
    until(lambda: explorer.state["pending"] == 0)
    new = open_recording(explorer.output / "segments" / "0000" / "frames")
    assert len(new) == FRAMES - 1 and len(explorer.bank()) == REMEMBERED
    page.get_by_role("button", name="Accept", exact=True).wait_for()
    keep_picture(page, "3_generated")

    press(page, "Accept")
    until(lambda: explorer.state["current"] == 1)
    grown = explorer.bank()
    assert len(grown) == REMEMBERED + FRAMES - 1 and explorer.state["pending"] is None
    assert torch.equal(grown.frame(REMEMBERED), new.frame(0))
    page.get_by_text("Version 1: segment 0 remembered").first.wait_for(state="attached")
    keep_picture(page, "4_accepted")

    press(page, "Revert")
    until(lambda: explorer.state["current"] == 0)
    assert len(explorer.bank()) == REMEMBERED and explorer.state["drawn"] == drawn
    assert len(Bank(explorer.output / "memories" / "0001")) == REMEMBERED + FRAMES - 1

    tab(page, "Edit")
    press(page, "Box around a rectangle")
    page.get_by_text("Drag a rectangle over what is meant.").wait_for()
    canvas = page.locator("canvas").first.bounding_box()
    x, y = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
    page.mouse.move(x - 60, y - 40)
    page.mouse.down()
    page.mouse.move(x, y, steps=4)
    page.mouse.move(x + 60, y + 40, steps=4)
    page.mouse.up()
    remove = page.get_by_role("button", name="Remove", exact=True)
    until(remove.is_enabled)
    keep_picture(page, "5_box")
    before = explorer.bank().depth(REMEMBERED - 1)
    remove.click()
    until(lambda: explorer.state["current"] == 2)
    done = json.loads((explorer.output / "memories" / "0002" / "edits.json").read_text())
    assert list(done[0]["edits"][0])[0] == "remove"
    assert not torch.equal(explorer.bank().depth(REMEMBERED - 1), before)
    page.get_by_text(re.compile("Version 2: remove")).first.wait_for(state="attached")
    keep_picture(page, "6_removed")

    tab(page, "Take")
    press(page, "Static page")
    static = explorer.output / "taken" / "scene.html"
    until(static.exists)
    assert "__VISER_EMBED_DATA__" in static.read_text()
    page.close()
    alone = browser.new_page()
    errors = []
    alone.on("pageerror", lambda error: errors.append(error))
    alone.goto(static.as_uri())
    alone.locator("canvas").first.wait_for(timeout=1000 * PATIENCE)
    assert not errors
    alone.close()


def test_two_browsers_a_closed_tab_a_growing_bank_and_a_kill(browser, explorer):
    # So many steps that the tab is closed between two of them.
    explorer.start("sampling.steps=6")
    one, two = opened(browser, explorer), opened(browser, explorer)
    tab(one, "Draw")
    press(one, "Append")
    until(lambda: explorer.state["drawn"]["keyframes"])
    tab(two, "Draw")
    two.get_by_text(re.compile(r"\d segments?, ")).first.wait_for()
    tab(two, "Generate")
    press(two, "Generate")
    two.get_by_text(re.compile("step [0-9] of 6")).wait_for()
    two.close()
    until(lambda: explorer.state["pending"] == 0)
    tab(one, "Generate")
    one.get_by_role("button", name="Accept", exact=True).wait_for()

    more = view_room(look([[0.5, 0.2, 0.5]], [0.9], SIZE, 72.0))
    LocalClouds(Bank(explorer.folder / "bank")).update(more)
    one.get_by_text(f"{REMEMBERED + 1} frames").first.wait_for(state="attached")
    state = explorer.state
    one.close()
    explorer.kill()
    explorer.start("sampling.steps=6")
    assert explorer.state == state and state["pending"] == 0
    again = opened(browser, explorer)
    tab(again, "Generate")
    press(again, "Revert")
    until(lambda: explorer.state["pending"] is None)
    assert explorer.state["drawn"] == state["drawn"]
    again.close()


def test_keys_walk_the_path(browser, explorer):
    explorer.start("points=1000")
    page = opened(browser, explorer)
    tab(page, "Draw")
    page.get_by_label("Walk", exact=True).first.click()
    canvas = page.locator("canvas").first.bounding_box()
    page.mouse.click(canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2)
    page.keyboard.down("w")
    until(lambda: len(explorer.state["drawn"]["keyframes"]) >= 2)
    page.keyboard.up("w")
    first, second = explorer.state["drawn"]["keyframes"][:2]
    # The page opens a little behind the newest camera, which looks the same way.
    ahead = explorer.bank().cameras.c2w[-1, :3, 2]
    stood, walked = torch.tensor([[row[3] for row in key[:3]] for key in (first, second)])
    assert (walked - stood) @ ahead > 0
    page.close()


def test_an_empty_memory_is_shown_and_fills(browser, tmp_path):
    explorer = Explorer(tmp_path)
    try:
        explorer.start()
        page = browser.new_page()
        page.goto(explorer.address)
        page.get_by_text("Nothing is remembered").first.wait_for(timeout=1000 * PATIENCE)
        LocalClouds(Bank(tmp_path / "bank")).update(walk(3, SIZE))
        page.get_by_text("3 frames").first.wait_for(timeout=1000 * PATIENCE)
        page.close()
    finally:
        explorer.process.terminate()
        explorer.process.wait(60)

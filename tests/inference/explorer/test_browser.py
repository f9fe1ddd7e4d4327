"""The page in a real browser: a headless Chromium, which draws by software.

Every step is asked of the page and looked up on disk. One server, begun by the command, and one
page are shared; one test kills the server. EXPLORER_SCREENSHOTS=FOLDER keeps pictures.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import project, unproject
from anchorweave.memory import Bank, LocalClouds
from anchorweave.recordings import open_recording
from inference import explore
from inference.explorer.path_files import load_path
from tests.rooms import look, view_room, walk

ROOT = Path(__file__).parents[3]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell"))), None)
SIZE, FRAMES, REMEMBERED = (64, 96), 9, 8
# Chromium on a busy machine without a GPU; nothing here waits for as long as that.
PATIENCE = 240.0
SOFTWARE = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
# Few pixels, which are drawn by software: the panels beside the scene are 700 wide.
WINDOW = {"width": 1060, "height": 560}

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
        self.thread: threading.Thread | None = None
        self.waits, self.ended = threading.Event(), threading.Event()
        self.words = [
            *(f"output={self.output}", f"memory.path={folder / 'bank'}", f"port={self.port}"),
            *(f"frames={FRAMES}", f"size={list(SIZE)}", "sampling.steps=4", "points=4000"),
        ]

    def start(self) -> None:
        command = [sys.executable, "-u", "-m", "inference.explore", *self.words]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        until(lambda: self.address in self.log.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def start_here(self) -> None:
        """The same in a thread of this process, which has imported everything already."""

        def wait():
            self.waits.set()
            self.ended.wait()

        def run():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(explore, "wait", wait)
                explore.main(self.words)

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        until(lambda: self.waits.is_set() or not self.thread.is_alive())
        assert self.thread.is_alive()

    def kill(self) -> None:
        """At once, as the kernel would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        if self.thread is not None:
            self.ended.set()
            self.thread.join(60)

    @property
    def state(self) -> dict:
        return json.loads((self.output / "explorer.json").read_text())

    @property
    def keyframes(self) -> torch.Tensor:
        return torch.tensor(self.state["drawn"]["keyframes"])

    def bank(self) -> Bank:
        current = self.state["current"]
        folder = self.output / "memories" / f"{current:04d}" if current else self.folder / "bank"
        return Bank(folder)


def until(holds, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    LocalClouds(Bank(folder / "bank")).update(walk(REMEMBERED, SIZE))
    explorer = Explorer(folder)
    explorer.start()
    yield explorer
    explorer.end()


@pytest.fixture(scope="module")
def page(browser, explorer):
    page = opened(browser, explorer)
    yield page
    page.close()


def opened(browser, explorer, **window):
    page = browser.new_page(viewport={**WINDOW, **window})
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(explorer.address)
    answered(page)
    return page


def answered(page):
    """Until what is retrieved for the first view is there."""
    page.get_by_text(re.compile("of this view is remembered")).first.wait_for()
    # That it draws by software; a rectangle could not be begun on a note.
    for close in page.locator("button.mantine-Notification-closeButton").all():
        close.click()


def tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def append_words(page, words):
    page.locator("xpath=//*[text()='Text']/following::input[1]").fill(words)
    press(page, "Append")


def keep_picture(page, name):
    if folder := os.environ.get("EXPLORER_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", timeout=1000 * PATIENCE)


def seen_from(page, explorer) -> tuple[Cameras, float, float]:
    """The camera of a page that was just opened, and where its picture lies in the window."""
    canvas = page.locator("canvas").first.bounding_box()
    newest, unit = explorer.bank().cameras[-1], explorer.state["unit"]
    place, ahead, up = newest.c2w[:3, 3], newest.c2w[:3, 2], -newest.c2w[:3, 1]
    c2w = torch.eye(4)
    c2w[:3, 3] = place - 0.45 * unit * ahead + 0.12 * unit * up
    forward = torch.nn.functional.normalize(place + 0.6 * unit * ahead - c2w[:3, 3], dim=0)
    right = torch.linalg.cross(forward, up)
    right = right / right.norm()
    c2w[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    width, height = round(canvas["width"]), round(canvas["height"])
    focal = height / 2 / (newest.size[0] / 2 / float(newest.K[1, 1]))
    K = intrinsics(focal, focal, width / 2, height / 2)
    return Cameras(c2w, K, (height, width)), canvas["x"], canvas["y"]


def near(seen, name, size):
    """The least, or the largest, of a picture's values in squares of 2 size + 1 pixels."""
    sign = -1.0 if name == "least" else 1.0
    pooled = torch.nn.functional.max_pool2d(sign * seen[None].float(), 2 * size + 1, 1, size)
    return sign * pooled[0]


def test_a_click_says_who_has_seen_a_place_or_nobody(page, explorer):
    tab(page, "See")
    camera, x, y = seen_from(page, explorer)
    room = view_room(camera[None])
    points, cameras = unproject(room.depth[0], camera), explorer.bank().cameras
    # A room without furniture: whoever looks at a place of its walls sees it.
    at, z = project(points.view(-1, 3), cameras)
    inside = (z > 0) & (at >= 0).all(-1) & (at[..., 0] < SIZE[1]) & (at[..., 1] < SIZE[0])
    seen = inside.view(len(cameras), *camera.size)
    never = near(seen.any(dim=0), "largest", 8) == 0
    same = (near(seen, "least", 8) == near(seen, "largest", 8)).all(dim=0) & seen.any(dim=0)
    # Off the cameras that are drawn, which a click selects.
    centres, _ = project(cameras.centres, camera)
    pixels = torch.stack(torch.meshgrid(*map(torch.arange, camera.size), indexing="ij"), dim=-1)
    apart = torch.cdist(pixels.view(-1, 2).float(), centres.flip(-1)).amin(dim=1)
    same &= apart.view(camera.size) > 90
    # Notes lie over the top.
    same[:200], never[:200] = False, False
    spots = {}
    for name, mask in (("never", never), ("same", same)):
        found = mask.nonzero()
        assert len(found), f"no pixel is {name}"
        spots[name] = found[len(found) // 2].tolist()
    row, column = spots["never"]
    page.mouse.click(x + column, y + row)
    page.get_by_text("Never seen.").wait_for()
    row, column = spots["same"]
    page.mouse.click(x + column, y + row)
    said = page.get_by_text(re.compile(rf"Seen by \d of {REMEMBERED}"))
    said.first.wait_for()
    text = said.first.locator("xpath=ancestor-or-self::p").inner_text()
    who = {int(number) for number in re.findall(r"(\d) \(room \1\)", text)}
    assert who == set(seen[:, row, column].nonzero().flatten().tolist()), text
    place = torch.tensor([float(v) for v in re.search(r"at \((.*)\)", text)[1].split(",")])
    # To the tolerance of coarse depth, and of three digits.
    assert (place - points[row, column]).norm() < 0.05 * room.depth[0, row, column]
    keep_picture(page, "1_clicked")


def test_a_keyframe_is_chosen_dragged_replaced_and_deleted(page, explorer):
    tab(page, "Draw")
    append_words(page, "move_right:4")
    until(lambda: len(explorer.keyframes) == 1)
    before, unit = explorer.keyframes[0], explorer.state["unit"]
    camera, x, y = seen_from(page, explorer)

    def put(point):
        at, _ = project(point[None], camera)
        return x + at[0, 0].item(), y + at[0, 1].item()

    # A little ahead of its centre, where its frustum is.
    page.mouse.click(*put(before[:3, 3] + 0.03 * unit * before[:3, 2]))
    until(lambda: explorer.state["keyframe"] == 0)
    delete = page.get_by_role("button", name="Delete it", exact=True)
    until(delete.is_enabled)
    keep_picture(page, "2_chosen")
    # The arrow to its right.
    begin, end = (put(before[:3, 3] + part * unit * before[:3, 0]) for part in (0.1, 0.2))
    page.mouse.move(*begin)
    page.mouse.down()
    page.mouse.move((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2, steps=3)
    page.mouse.move(*end, steps=3)
    page.mouse.up()
    until(lambda: not torch.equal(explorer.keyframes[0], before), 60)
    keep_picture(page, "3_dragged")
    assert not page.get_by_text("see the terminal").count()
    moved = explorer.keyframes[0]
    way = moved[:3, 3] - before[:3, 3]
    assert way @ before[:3, 0] > 0.05 * unit and (way @ before[:3, 1:3]).abs().max() < 0.01 * unit
    torch.testing.assert_close(moved[:3, :3], before[:3, :3], atol=1e-4, rtol=0)
    # One drag is one change, which is undone.
    assert len(explorer.state["past"]) == 2

    page.get_by_text("Path files", exact=True).click()
    press(page, "Save")
    until((explorer.output / "paths" / "path-1.txt").exists)
    written = load_path(explorer.output, "path-1")
    torch.testing.assert_close(written.c2w[-1], moved, atol=1e-5, rtol=0)

    press(page, "Move to current view")
    until(lambda: not torch.equal(explorer.keyframes[0], moved))
    torch.testing.assert_close(explorer.keyframes[0], camera.c2w, atol=0.01 * unit, rtol=0)
    assert explorer.state["keyframe"] == 0
    delete.click()
    until(lambda: not len(explorer.keyframes))
    assert explorer.state["keyframe"] is None


def test_keys_walk_the_path(page, explorer):
    tab(page, "Draw")
    page.get_by_label("Walk", exact=True).first.click()
    # A key that is pressed at once still moves the older view, which is not the path's.
    canvas = page.locator("canvas").first.bounding_box()
    page.mouse.click(canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2)
    page.keyboard.down("w")
    page.get_by_text("the path follows the view").wait_for(state="attached")
    until(lambda: len(explorer.keyframes) >= 2)
    page.keyboard.up("w")
    first, second = explorer.keyframes[:2]
    # Walking begins at the newest camera.
    ahead = explorer.bank().cameras.c2w[-1, :3, 2]
    assert (second[:3, 3] - first[:3, 3]) @ ahead > 0
    page.get_by_label("Walk", exact=True).first.click()
    press(page, "Clear")
    until(lambda: not len(explorer.keyframes))


def test_a_segment_is_generated_killed_accepted_reverted_and_edited(browser, page, explorer):
    two = opened(browser, explorer, height=400)
    tab(page, "Draw")
    press(page, "Add keyframe")
    until(lambda: len(explorer.keyframes) == 1)
    press(page, "Undo")
    until(lambda: not len(explorer.keyframes))
    append_words(page, "orbit(degrees=30)")
    until(lambda: len(explorer.keyframes) > 1)
    drawn = explorer.state["drawn"]
    keep_picture(page, "4_drawn")

    # The other browser shows it, generates, and is closed meanwhile.
    tab(two, "Draw")
    two.get_by_text(re.compile(r"\d segments?, ")).first.wait_for()
    tab(two, "Generate")
    press(two, "Generate")
    two.get_by_text(re.compile("step [0-9] of 4")).wait_for()
    two.close()
    tab(page, "Generate")
    until(lambda: explorer.state["pending"] == 0)
    new = open_recording(explorer.output / "segments" / "0000" / "frames")
    assert len(new) == FRAMES - 1 and len(explorer.bank()) == REMEMBERED
    page.get_by_role("button", name="Accept", exact=True).wait_for()
    keep_picture(page, "5_generated")

    # Another process adds to the memory.
    more = view_room(look([[0.5, 0.2, 0.5]], [0.9], SIZE, 72.0))
    LocalClouds(Bank(explorer.folder / "bank")).update(more)
    remembered = REMEMBERED + 1
    page.get_by_text(f"{remembered} frames").first.wait_for(state="attached")

    state = explorer.state
    explorer.kill()
    explorer.start_here()
    assert explorer.state == state and state["pending"] == 0
    page.reload()
    answered(page)
    tab(page, "Generate")
    press(page, "Accept")
    until(lambda: explorer.state["current"] == 1)
    grown = explorer.bank()
    assert len(grown) == remembered + FRAMES - 1 and explorer.state["pending"] is None
    assert torch.equal(grown.frame(remembered), new.frame(0))
    page.get_by_text("Version 1: segment 0 remembered").first.wait_for(state="attached")
    keep_picture(page, "6_accepted")

    press(page, "Revert")
    until(lambda: explorer.state["current"] == 0)
    assert len(explorer.bank()) == remembered and explorer.state["drawn"] == drawn
    assert len(Bank(explorer.output / "memories" / "0001")) == remembered + FRAMES - 1

    tab(page, "Edit")
    press(page, "Box around a rectangle")
    page.get_by_text("Drag a rectangle over the target.").wait_for()
    canvas = page.locator("canvas").first.bounding_box()
    x, y = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
    page.mouse.move(x - 60, y - 40)
    page.mouse.down()
    page.mouse.move(x, y, steps=4)
    page.mouse.move(x + 60, y + 40, steps=4)
    page.mouse.up()
    remove = page.get_by_role("button", name="Remove", exact=True)
    until(remove.is_enabled)
    keep_picture(page, "7_box")
    before = explorer.bank().depth(REMEMBERED - 1)
    remove.click()
    until(lambda: explorer.state["current"] == 2)
    done = json.loads((explorer.output / "memories" / "0002" / "edits.json").read_text())
    assert list(done[0]["edits"][0])[0] == "remove"
    assert not torch.equal(explorer.bank().depth(REMEMBERED - 1), before)
    page.get_by_text(re.compile("Version 2: remove")).first.wait_for(state="attached")
    keep_picture(page, "8_removed")

    tab(page, "Export")
    press(page, "Static page")
    static = explorer.output / "exports" / "scene.html"
    until(static.exists)
    assert "__VISER_EMBED_DATA__" in static.read_text()
    alone = browser.new_page(viewport={"width": 400, "height": 300})
    errors = []
    alone.on("pageerror", lambda error: errors.append(error))
    alone.goto(static.as_uri())
    alone.locator("canvas").first.wait_for(timeout=1000 * PATIENCE)
    assert not errors
    alone.close()


def test_an_empty_memory_is_shown_and_fills(browser, tmp_path):
    explorer = Explorer(tmp_path)
    try:
        explorer.start_here()
        page = browser.new_page(viewport={"width": 760, "height": 300})
        page.goto(explorer.address)
        page.get_by_text("Nothing is remembered").first.wait_for(timeout=1000 * PATIENCE)
        LocalClouds(Bank(tmp_path / "bank")).update(walk(3, SIZE))
        page.get_by_text("3 frames").first.wait_for(timeout=1000 * PATIENCE)
        page.close()
    finally:
        explorer.end()

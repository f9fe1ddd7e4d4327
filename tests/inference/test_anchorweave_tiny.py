"""The trained model that is shipped: it opens, it is small, and what is said of it is so."""

import csv
import json
from pathlib import Path

import pytest
import torch

from anchorweave.models.notes import weights_note
from anchorweave.pipelines import AnchorWeavePipeline
from inference import evaluate, generate, write_recordings

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "pretrained" / "anchorweave-tiny"
RESULTS = MODEL / "results"
ROWS = ROOT / "configs" / "evaluation" / "rows"
MOST_BYTES = 50e6
# Another processor rounds otherwise; a video moves by some hundredths of a decibel.
NEAR_DB = 0.3


def videos():
    with (RESULTS / "partial_revisit" / "videos.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """The first held-out room, as the results were measured on it."""
    clip = videos()[0]["clip"]
    folder = tmp_path_factory.mktemp("held_out") / clip
    words = clip.replace("procedural-", "procedural:").replace("-", ",")
    write_recordings.main([f"source={words}", f"output={folder}"])
    return folder


def test_it_is_trained_and_says_so_and_small_enough_to_ship():
    files = [path for path in MODEL.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    assert weights_note(MODEL).startswith("trained")


def test_it_opens_in_one_line_and_takes_other_lengths_than_it_was_trained_for():
    pipe = AnchorWeavePipeline.from_pretrained(MODEL)
    assert pipe.transformer.dtype == torch.float32
    words = ["a blue room", "a red room"]
    ids = pipe.tokenizer(words).input_ids
    assert ids[0] != ids[1] and pipe.tokenizer.unk_token_id not in ids[0]
    image = torch.rand(3, 128, 192, generator=torch.Generator().manual_seed(0))
    video = pipe(
        image, words[0], num_frames=9, num_inference_steps=1, guidance_scale=1, output_type="pt"
    ).frames[0]
    assert len(video) == 9


@pytest.mark.parametrize("row", ["k4", "no_memory"])
def test_a_held_out_clip_measures_as_the_results_say(room, tmp_path, row, monkeypatch):
    monkeypatch.chdir(ROOT)
    said = next(v for v in videos() if v["row"] == row and v["clip"] == room.name)
    words = [f"source={room}", f"output={tmp_path}", "samples=1", "batch=1", f"model.path={MODEL}"]
    generate.main([f"config={ROWS / row}.yaml", f"seed={said['seed']}", *words])
    evaluate.main([f"rows={tmp_path / 'partial_revisit'}", f"output={tmp_path / 'results'}"])
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    met = results["rows"][row]["metrics"]["psnr"]["mean"]
    assert met == pytest.approx(float(said["psnr"]), abs=NEAR_DB)


# Cells of the table after a row's name and what it is.
CELLS = {
    "psnr": "{mean:.2f} [{low:.2f}, {high:.2f}]",
    "ssim": "{mean:.3f}",
    "psnr_shown": "{mean:.2f} [{low:.2f}, {high:.2f}]",
    "psnr_only_memory": "{mean:.2f} [{low:.2f}, {high:.2f}]",
}


def measured_table():
    """Row -> its cells, as the results that are shipped say."""
    rows = json.loads((RESULTS / "partial_revisit" / "results.json").read_text())["rows"]
    return {
        name: [form.format(**row["metrics"][metric]) for metric, form in CELLS.items()]
        for name, row in rows.items()
    }


def table_in(text):
    """The same of the table in a page."""
    lines = text.partition("| row | what | PSNR, all pixels (dB) |")[2].partition("\n\n")[0]
    cells = [line.strip("| ").split(" | ") for line in lines.splitlines()[2:]]
    return {row.strip("`"): rest for row, _, *rest in cells}


@pytest.mark.parametrize("page", [ROOT / "README.md", MODEL / "README.md"])
def test_the_table_in_the_readme_and_on_the_card_is_the_measured_one(page):
    """Every row of the results, no other, and every number."""
    assert table_in(page.read_text()) == measured_table()


def test_a_row_that_the_table_lacks_is_met():
    text = (ROOT / "README.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| `k2` |"))
    assert table_in(text.replace(f"{line}\n", "")).keys() == measured_table().keys() - {"k2"}

"""The YAML files of the rows."""

from dataclasses import asdict

import pytest
import yaml

from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import flat
from inference.evaluation.config import EvaluationConfig
from tests.inference.small_rows import CONFIGS

ROWS = sorted((CONFIGS / "rows").glob("*.yaml"))


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.stem)
def test_a_row_differs_from_its_base_only_in_what_it_names(path):
    config = load_config(EvaluationConfig, [f"config={path}"])
    lines = path.read_text().splitlines()
    assert len(lines) <= 15 and config.row == path.stem
    assert lines[0] == f"# python -m inference.generate config=configs/evaluation/rows/{path.name}"
    named = yaml.safe_load(path.read_text())
    base = load_config(EvaluationConfig, [f"config={path.parent / named.pop('base')}"])
    base, values = flat(asdict(base)), flat(asdict(config))
    differ = {key for key in values if values[key] != base[key]}
    # k4 says what its neighbours change.
    assert "row" in differ and differ <= flat(named).keys()


def test_there_is_a_row_for_every_line_of_the_table():
    assert {path.stem for path in ROWS} == {
        "no_memory", "k1", "k2", "k4", "global_cloud", "average_fusion", "separate_attention",
        "overlap_ranked", "vae", "copy_best_anchor", "composite_anchors", "first_frame", "local",
        "local_k1", "composite_filled",
        "camera_only",
    }  # fmt: skip

import pytest
import torch
from PIL import Image

from inference.evaluation.cached_row import CachedRow, EvaluationTarget
from inference.show_rows import ShowConfig, main


@pytest.fixture
def rows(tmp_path):
    """Two rows of one clip of three frames, grey of other brightness."""
    folders = []
    for name, grey in (("dark", 0.2), ("bright", 0.8)):
        row = CachedRow(tmp_path / name)
        row.begin({"name": name}, ["room"], [0], "python")
        still = torch.full((3, 3, 16, 16), grey)
        shown = torch.ones(3, 16, 16, dtype=torch.bool)
        row.write_given("room", EvaluationTarget(still, still, shown, shown, 0.0), [])
        row.write_sample("room", 0, still, 1.0)
        folders.append(str(row.path))
    return folders


def test_a_still_and_a_moving_picture_show_truth_anchors_and_rows(rows, tmp_path):
    main([f"rows=[{','.join(rows)}]", f"output={tmp_path / 'out/two'}", "frames=2"])
    still, moving = Image.open(tmp_path / "out/two.jpg"), Image.open(tmp_path / "out/two.gif")
    assert moving.n_frames == 3 or moving.n_frames == 1  # equal frames may be joined
    tile = (moving.width - 4 * 4) // 4
    greys = [
        moving.convert("L").getpixel((i * (tile + 4) + tile // 2, moving.height - 20))
        for i in range(4)
    ]
    # Truth and anchors are the last row's; then the rows in their order.
    assert greys == pytest.approx([204, 204, 51, 204], abs=6)
    assert still.height == 2 * moving.height


def test_what_cannot_be_shown_is_named(rows, tmp_path):
    with pytest.raises(ValueError, match="give one or more row folders"):
        ShowConfig()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no clip"):
        main([f"rows=[{tmp_path / 'empty'}]", f"output={tmp_path / 'x'}"])

import json

import pytest

from anchorweave.models.notes import weights_note


def test_a_note_is_read_and_its_absence_is_none(tmp_path):
    index = tmp_path / "model_index.json"
    index.write_text(json.dumps({"_class_name": "Some", "_weights": "random (untrained)"}))
    assert weights_note(tmp_path) == weights_note(str(tmp_path)) == "random (untrained)"
    index.write_text(json.dumps({"_class_name": "Some"}))
    assert weights_note(tmp_path) is None


def test_a_folder_that_holds_no_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="model_index.json"):
        weights_note(tmp_path)

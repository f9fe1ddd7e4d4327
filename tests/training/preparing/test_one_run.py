"""Stages that write into one folder: the second of two is told, before it does anything."""

import pytest

from anchorweave.locks import FolderInUseError, in_use
from inference import rollout
from tests.training.small_data import PREPARE, write_room
from training import precompute_latents, prepare_clips, train_vae

MODULES = {
    "prepare": (prepare_clips, "output"),
    "precompute": (precompute_latents, "data"),
    "vae": (train_vae, "output"),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    write_room(root / "room", count=7)
    prepare_clips.main([f"source={root / 'room'}", f"output={root / 'clips'}", *PREPARE])
    return root


@pytest.mark.parametrize("stage", MODULES)
def test_the_second_of_two_is_told(prepared, stage):
    module, key = MODULES[stage]
    folder = prepared / "clips"
    words = [f"{key}={folder}"]
    if stage != "precompute":
        words.append(f"source={prepared / 'room'}")
    before = sorted(folder.rglob("*"))
    with in_use(folder):
        with pytest.raises(FolderInUseError, match=f"{folder} is in use by"):
            module.main(words)
    assert sorted(folder.rglob("*")) == before


def test_two_rollouts_do_not_share_an_output_or_a_bank(tmp_path):
    output, bank = tmp_path / "out", tmp_path / "bank"
    with in_use(output), pytest.raises(FolderInUseError, match=f"{output} is in use by"):
        rollout.main([f"output={output}"])
    with in_use(bank), pytest.raises(FolderInUseError, match=f"{bank} is in use by"):
        rollout.main([f"output={output}", f"memory.path={bank}"])
    # The bank of an output belongs to who was pointed at it, too.
    with in_use(output / "memory"), pytest.raises(FolderInUseError, match="memory is in use by"):
        rollout.main([f"output={output}"])

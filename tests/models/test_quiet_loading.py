"""The libraries' bars: silent inside, afterwards as they were."""

import pytest
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import utils as hub
from transformers.utils import logging as transformers_logging

from anchorweave.models.quiet_loading import quiet_loading
from anchorweave.models.small.tiny import write_tiny
from anchorweave.pipelines import AnchorWeavePipeline


@pytest.fixture(autouse=True)
def bars_on():
    for library in (transformers_logging, diffusers_logging):
        library.enable_progress_bar()
    yield
    for library in (transformers_logging, diffusers_logging):
        library.enable_progress_bar()


def on() -> tuple[bool, bool, bool]:
    return (
        transformers_logging.is_progress_bar_enabled(),
        diffusers_logging.is_progress_bar_enabled(),
        not hub.are_progress_bars_disabled(),
    )


def test_loading_shows_nothing_inside_and_bars_outside(tmp_path, capfd):
    path = write_tiny(tmp_path / "tiny", frames=5, size=(16, 32))
    AnchorWeavePipeline.from_pretrained(path)
    assert "Loading" in capfd.readouterr().err
    with quiet_loading():
        AnchorWeavePipeline.from_pretrained(path)
    assert capfd.readouterr() == ("", "")


def test_bars_come_back_after_an_error_and_from_within():
    with pytest.raises(OSError, match="broken"), quiet_loading():
        with quiet_loading():
            pass
        assert on() == (False, False, False)
        raise OSError("broken")
    assert on() == (True, True, True)


def test_bars_that_were_off_stay_off():
    diffusers_logging.disable_progress_bar()
    hub.disable_progress_bars()
    with quiet_loading():
        assert on() == (False, False, False)
    assert on() == (True, False, False)
    transformers_logging.disable_progress_bar()
    with quiet_loading():
        pass
    assert on() == (False, False, False)

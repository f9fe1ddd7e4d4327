import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parent.parent / "scripts" / "setup.sh"


@pytest.mark.skipif(
    not shutil.which("ldconfig", path="/usr/sbin:/sbin"), reason="no ldconfig in /usr/sbin or /sbin"
)
def test_libraries_are_checked_for_a_user_whose_path_has_no_sbin(tmp_path):
    """With nothing else in PATH, so that nothing can be installed."""
    (tmp_path / "anchorweave").mkdir()
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    (tmp_path / "bin" / "id").symlink_to(shutil.which("id"))
    traced = subprocess.run(
        [shutil.which("bash"), "-euxo", "pipefail", "-c", f". {SETUP}"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
    )
    assert "sbin/ldconfig -p" in traced.stderr, traced.stderr

import json

import pytest

from tests.benchmarks import full_size
from tests.benchmarks.full_size_parts import variants_of

# Compiling takes long, and the other family's calls differ in the networks alone.
RUN = {
    "cogvideox": [one for one in variants_of("cogvideox") if "compiled" not in one[0]],
    "wan": [one for one in variants_of("wan") if one[0] in ("forward visible 45%", "splat")],
}


@pytest.mark.parametrize("family", RUN)
def test_variants_run_at_toy_size(family, capsys, monkeypatch):
    kept = RUN[family]
    monkeypatch.setattr(full_size, "variants_of", lambda _: kept)
    full_size.main(["--size", "toy", "--family", family, "--repeats", "1", "--seconds", "600"])
    first, *lines, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["family"] == family and last["left_out"] == []
    assert [line["variant"] for line in lines] == [name for name, _ in kept]
    failed = {line["variant"]: line["error"] for line in lines if "error" in line}
    # Kernels of attention that this machine does not have are said to be missing.
    assert all(name.startswith("attention of") for name in failed), failed
    assert all(line["seconds"] > 0 for line in lines if "error" not in line)


def test_a_deadline_names_what_it_leaves_out(capsys):
    lines = full_size.main(["--size", "toy", "--seconds", "0"])
    assert [name for name, _ in variants_of("cogvideox")] == lines[-1]["left_out"]
    assert len(lines) == 2

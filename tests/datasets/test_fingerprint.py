from dataclasses import dataclass, field
from pathlib import Path

import pytest

from anchorweave.datasets.fingerprint import (
    FingerprintError,
    check_made,
    differences,
    digest,
    flat,
)


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int] = (1, 2)


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    name: str = "x"


def test_a_config_becomes_dotted_keys_that_json_keeps():
    assert flat(Outer()) == {"inner.size": [1, 2], "name": "x"}
    assert flat({"a": Outer(), "b": None}) == {"a.inner.size": [1, 2], "a.name": "x", "b": None}


def test_every_differing_key_is_named_with_both_values():
    there, now = {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "d": 4}
    assert differences(there, there) == []
    with pytest.raises(FingerprintError) as caught:
        check_made(Path("some/clip"), there, now, "remove it")
    told = str(caught.value)
    assert "some/clip" in told and "remove it" in told
    assert "b: 2 there, 5 now" in told and "a:" not in told
    assert "c: 3 there, 'not stated' now" in told and "d: 'not stated' there, 4 now" in told


def test_a_digest_depends_on_values_and_not_on_their_order():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})

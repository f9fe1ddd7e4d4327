import pytest

from training.preparing.sharding import Shard, Tally


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_item_belongs_to_one_process_whatever_their_number(count):
    shards = []
    for rank in range(count):
        shard = Shard(cpu=True)
        shard.rank, shard.count = rank, count
        shards.append(shard.of(range(7)))
    assert sorted(item for part in shards for item in part) == list(range(7))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_tallies_add_up_and_failures_end_with_an_error(capsys):
    shard = Shard(cpu=True)

    def do(item):
        if item == 2:
            return Tally(failed={"two [b]": "it is even"})
        return Tally(made=1) if item else Tally(there=1)

    tally = shard.run([0, 1, 2, 3], do, "numbers")
    assert (tally.made, tally.there) == (2, 1)
    with pytest.raises(SystemExit) as ended:
        shard.finish(tally, "numbers")
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "numbers: 2 made, 1 existed, 1 failed" in said
    assert "failed: two [b]: it is even" in said
    shard.finish(Tally(made=3), "numbers")
    assert "3 made, 0 existed, 0 failed" in capsys.readouterr().out


def test_progress_is_told_in_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr("training.preparing.sharding.LOG_SECONDS", 0.0)
    assert list(Shard(cpu=True).watch("abc", "letters")) == ["a", "b", "c"]
    assert "letters: 2 of 3 in this process" in capsys.readouterr().out

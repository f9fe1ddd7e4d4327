from anchorweave.retrieval.random_choice import random_order


def test_a_function_of_seed_and_chunk():
    assert random_order(20, 1, 2) == random_order(20, 1, 2)
    assert sorted(random_order(20, 1, 2)) == list(range(20))
    assert len({tuple(random_order(20, *key)) for key in [(1, 2), (2, 1), (1, 3), (0, 0)]}) == 4
    assert random_order(0, 0, 0) == []

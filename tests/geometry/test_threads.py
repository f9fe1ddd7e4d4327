import threading

import pytest
import torch

from anchorweave.geometry.threads import in_threads


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("allowed", "items", "workers"), [(1, 9, 1), (3, 9, 3), (3, 2, 2)])
def test_every_item_is_done_once(threads, allowed, items, workers):
    threads(allowed)
    done, lock = [], threading.Lock()

    def work(worker, of):
        assert of == workers
        with lock:
            done.extend(range(worker, items, of))

    in_threads(work, items)
    assert sorted(done) == list(range(items))


@pytest.mark.parametrize("allowed", [1, 2])
def test_errors_come_out(threads, allowed):
    threads(allowed)

    def work(worker, workers):
        raise ZeroDivisionError("inside")

    with pytest.raises(ZeroDivisionError, match="inside"):
        in_threads(work, 5)

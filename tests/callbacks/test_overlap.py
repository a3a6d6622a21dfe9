"""Work ahead: in order, bounded, beside its use, and over when its user is."""

from __future__ import annotations

import threading

import pytest
import torch

from operando.callbacks.overlap import each


def test_results_come_in_order_whichever_is_done_first():
    gates = [threading.Event() for _ in range(4)]

    def wait(n):
        if n + 1 < len(gates) and n % 2 == 0:
            assert gates[n + 1].wait(10)  # the next is done before this one
        gates[n].set()
        return n

    assert list(each(wait, range(4), workers=2)) == [0, 1, 2, 3]


def test_the_next_is_made_while_this_one_is_used():
    made = [threading.Event() for _ in range(3)]

    def make(n):
        made[n].set()
        return n

    results = each(make, range(3))
    assert next(results) == 0
    assert made[1].wait(10)  # without being asked for
    assert list(results) == [1, 2]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_a_few_are_begun_ahead(workers):
    taken = []

    def items():
        for n in range(20):
            taken.append(n)
            yield n

    for done, _ in enumerate(each(lambda n: n, items(), workers=workers), 1):
        assert len(taken) <= done + workers + 1


def test_what_a_call_raises_is_raised_where_its_result_is_due_and_ends_the_work():
    begun = []

    def fail_at_two(n):
        begun.append(n)
        if n == 2:
            raise ValueError("two")
        return n

    results = each(fail_at_two, range(50))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert max(begun) <= 4


def test_nothing_runs_on_when_the_rest_is_not_wanted():
    before = threading.active_count()
    results = each(lambda n: n, range(50), workers=2)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_torch_has_as_many_threads_as_told():
    before = torch.get_num_threads()
    try:
        assert set(each(lambda _: torch.get_num_threads(), range(3), threads=2)) == {2}
    finally:
        torch.set_num_threads(before)


def test_nothing_to_do():
    assert list(each(str, [])) == []

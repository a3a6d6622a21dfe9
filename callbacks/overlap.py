"""Work done ahead in other threads, while what it has made so far is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def each(
    call: Callable[[T], R], items: Iterable[T], *, workers: int = 1, threads: int = 1
) -> Iterator[R]:
    """Yield ``call(item)`` of each item in order, computed ahead of their use.

    Torch, and NumPy on large arrays, let other threads run meanwhile: detection of the next frames
    beside the registration of this one takes about as long as the longer of both. No more than one
    result per worker, and one, is waiting at any time, and items are asked for in this thread.

    Parameters
    ----------
    call : must not depend on what is done with its results.
    workers : threads beside this one.
    threads : processor threads of torch within each.

    Raises
    ------
    Exception
        What a call raised, where its result is due; no further call is begun then.
    """
    pool = ThreadPoolExecutor(
        workers,
        thread_name_prefix="operando-ahead",
        initializer=torch.set_num_threads,
        initargs=(threads,),
    )
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # also where nobody asks for the rest: nothing runs on behind the caller's back
        pool.shutdown(cancel_futures=True)

"""Batches are put together by threads of their own while the model works on the one before.

Not by tf.data: where operations are to be deterministic (`tf.config.experimental.enable_op_determinism`), whatever of
it runs Python is run when it is asked for, its `prefetch` and `map` too, and every step waits for its batch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

N_THREADS = 2
N_AHEAD = 6

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """What a function makes of each number, in their order, made before it is asked for.

    Parameters
    ----------
    make : callable
        Called by several threads at once.
    n_threads, n_ahead : int

    Attributes
    ----------
    waited_s : float
        How long it was waited for what was not ready, in all.
    """

    def __init__(self, make: Callable[[int], T], n_threads: int = N_THREADS, n_ahead: int = N_AHEAD) -> None:
        self.waited_s = 0.0
        self._make, self._n_threads, self._n_ahead = make, n_threads, n_ahead

    def over(self, numbers: Iterable[int]) -> Generator[T, None, None]:
        """Give one after the other; what raises, raises here. Closed early, it waits for what was begun."""
        waiting: deque[Future[T]] = deque()
        with ThreadPoolExecutor(self._n_threads, "read-ahead") as pool:
            try:
                for number in numbers:
                    waiting.append(pool.submit(self._make, number))
                    if len(waiting) > self._n_ahead:
                        yield self._next(waiting)
                while waiting:
                    yield self._next(waiting)
            finally:
                for left in waiting:
                    left.cancel()

    def _next(self, waiting: deque[Future[T]]) -> T:
        asked_s = time.perf_counter()
        try:
            return waiting.popleft().result()
        finally:
            self.waited_s += time.perf_counter() - asked_s

"""Claims about real time, on a machine that does other things besides."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import ParamSpec

N_TRIES = 3

P = ParamSpec("P")


def one_of_three(test: Callable[P, None]) -> Callable[P, None]:
    """A stall of the machine spoils one try, a mistake of ours all of them; how often underruns come is the soak's."""

    @wraps(test)
    def tried(*args: P.args, **kwargs: P.kwargs) -> None:
        for _ in range(N_TRIES - 1):
            with suppress(AssertionError):
                return test(*args, **kwargs)
        return test(*args, **kwargs)

    return tried

"""What a process leaves behind that is killed before the n-th thing that it does to a disk: for real, by SIGKILL."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest

CHANGES = ("open", "write", "fsync", "ftruncate", "mkdir", "replace", "rename", "symlink", "unlink", "rmdir")
NEVER = 1 << 30
_DONE, _FAILED = 0, 3


class DeadlyOs:
    """Stands where `device.store.files` looks for `os`."""

    def __init__(self, n_left: int) -> None:
        self._n_left = n_left

    def __getattr__(self, name: str) -> Any:
        if name in CHANGES:
            self._n_left -= 1
            if self._n_left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return getattr(os, name)


def killed_after(n_changes: int, do: Callable[[], object]) -> bool:
    """Do something in a process of its own that is killed after so many changes of a disk; tell whether it was.

    What is done must not fail by itself.
    """
    with warnings.catch_warnings():  # of other threads, none of which holds what is needed here
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = _FAILED
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("device.store.files.os", DeadlyOs(n_changes))
                do()
            code = _DONE
        except BaseException:  # noqa: BLE001 - nothing may get out of here and go on as a second test run
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (_DONE, -signal.SIGKILL), code
    return code != _DONE

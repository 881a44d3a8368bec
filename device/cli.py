"""The command line: one table of commands, each imported only when it is the one that was asked for.

A command's module offers `add_arguments(parser)` and `main(args) -> int`, the exit code.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from device.core.errors import DanceSamplerError, UsageError

INTERRUPTED = 130  # 128 + SIGINT, as shells give it
_SET_UP = {"device": "make demo", "trainer": "make trainer"}


@dataclass(frozen=True)
class Command:
    """A command: the module that holds it, and its help in one line."""

    module: str
    help: str


def run(program: str, description: str, commands: Mapping[str, Command], argv: Sequence[str]) -> int:
    """Run the command that `argv` names.

    Parameters
    ----------
    program : str
        The package: `python -m program`.
    description : str
        What its commands have in common, one line.
    commands : mapping of str to Command
        The commands by name.
    argv : sequence of str
        The arguments after the program's name.

    Returns
    -------
    int
        The exit code: 0 done, 1 it failed, 2 wrong use or configuration, 130 interrupted. What went wrong is one
        line on standard error.
    """
    try:
        code = _dispatch(program, description, commands, argv)
        sys.stdout.flush()  # here, where a full disk or a closed pipe can still be reported
        return code
    except DanceSamplerError as error:
        return _fail(program, str(error), error.exit_code)
    except BrokenPipeError:
        return _fail(program, "what reads the output has ended; keep it open until the command is done", 1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(program, f"{place}{error.strerror or error}; make room or give access, then try again", 1)
    except ModuleNotFoundError as error:
        return _fail(program, f"{error.name} is not installed; run {_SET_UP[program]}, then use .venv/bin/python", 1)
    except KeyboardInterrupt:
        return _fail(program, "interrupted", INTERRUPTED)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are ours: one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def _dispatch(program: str, description: str, commands: Mapping[str, Command], argv: Sequence[str]) -> int:
    parser = _Parser(prog=f"python -m {program}", description=description)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    asked = argv[0] if argv else ""
    for name, command in commands.items():
        subparser = subparsers.add_parser(name, help=command.help, description=command.help)
        if name == asked:
            module = importlib.import_module(command.module)
            module.add_arguments(subparser)
            subparser.set_defaults(main=module.main)
    args = parser.parse_args(argv)
    if "main" not in args:
        parser.error("the command must come first")
    code: int = args.main(args)
    return code


def _fail(program: str, message: str, code: int) -> int:
    """Print one line, whatever the message holds, after what was printed before it."""
    try:
        sys.stdout.flush()
    except OSError:  # then the interpreter's own last flush must not try again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    print(f"{program}: {' '.join(message.split())}", file=sys.stderr)
    return code

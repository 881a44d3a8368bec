"""Changes of single keys in a configuration file that a person wrote: all else stays as it is, comments included."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping


def with_keys(text: str, values: Mapping[str, str]) -> str:
    """Set keys in a TOML file.

    Parameters
    ----------
    text : str
        The file as it is, valid TOML with plain tables, as the configuration's.
    values : mapping of str to str
        For each key, such as 'audio.device', its new value, a text.

    Returns
    -------
    str
        The file with each key in its table: in place of its old line, else first in the table, else in a new table at
        the end. A comment behind the old value is kept.
    """
    lines = text.splitlines()
    for name, value in values.items():
        section, key = name.split(".")
        _set(lines, section, f"{key} = {json.dumps(value, ensure_ascii=False)}", key)
    return "\n".join(lines) + "\n"


def _set(lines: list[str], section: str, line: str, key: str) -> None:
    begin = next((i for i, each in enumerate(lines) if _table_of(each) == section), None)
    if begin is None:
        lines += [*([""] if lines and lines[-1].strip() else []), f"[{section}]", line]
        return
    for i in range(begin + 1, len(lines)):
        if _table_of(lines[i]) is not None:
            break
        if re.match(rf"\s*{key}\s*=", lines[i]):
            lines[i] = line + _comment_of(lines[i])
            return
    lines.insert(begin + 1, line)


def _table_of(line: str) -> str | None:
    found = re.match(r"\s*\[\s*([\w-]+)\s*\]\s*(#.*)?$", line)
    return found[1] if found else None


def _comment_of(line: str) -> str:
    """The comment behind a value, with the blanks before it; a # within the value's quotes begins none."""
    found = re.match(r"""[^=]*=\s*(?:"(?:\\.|[^"\\])*"|'[^']*'|[^#"']*?)(\s*#.*)?$""", line)
    return (found[1] or "") if found else ""

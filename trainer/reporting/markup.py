"""HTML that is safe by the way it is made: whatever text goes in is escaped, only what was made here is not."""

from __future__ import annotations

import base64
import html

_EMPTY = frozenset(("img", "meta", "source"))
"""Elements that have no end."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *content: object, **attributes: object) -> Html:
    """Make an element.

    Parameters
    ----------
    name : str
    *content : object
        `Html` goes in as it is, None not at all, all else as escaped text.
    **attributes : object
        A last underscore is dropped (`class_`), others become hyphens (`aria_label`); True is an attribute without a
        value, None and False are left out.

    Returns
    -------
    Html
    """
    opened = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _EMPTY:
        return Html(f"<{name}{opened}>")
    return Html(f"<{name}{opened}>{join(*content)}</{name}>")


def join(*content: object) -> Html:
    """Put pieces one after the other, escaped unless they are HTML already."""
    return Html("".join(piece if isinstance(piece, Html) else _escaped(piece) for piece in content))


def data_uri(kind: str, data: bytes) -> str:
    """Bytes as an address that needs no file and no network."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    shown = name.rstrip("_").replace("_", "-")
    return f" {shown}" if value is True else f' {shown}="{_escaped(value)}"'


def _escaped(value: object) -> str:
    """Text as HTML shows it; characters that no page may hold (controls, halves of pairs) are shown as a mark."""
    if value is None:
        return ""
    kept = "".join(one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}" for one in str(value))
    return html.escape(kept, quote=True)

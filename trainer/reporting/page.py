"""The page: its sections in one file that needs no other, no network, and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from trainer.reporting.content import Content
from trainer.reporting.listening import listening
from trainer.reporting.markup import Html, join, tag
from trainer.reporting.sections import cards, costs, figures, latent_space, training, what_it_is
from trainer.reporting.words import moment

HERE = Path(__file__).parent
LINKS = (
    ("#listen", "Look and listen"),
    ("#figures", "Figures"),
    ("#latents", "Latent space"),
    ("#training", "Training"),
    ("#what", "What it is"),
    ("#costs", "What the box needs"),
)


def build_page(content: Content, made_s: int) -> bytes:
    """Put a report together.

    Parameters
    ----------
    content : Content
    made_s : int
        When it was made, seconds since 1970.

    Returns
    -------
    bytes
        HTML in UTF-8.
    """
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{content.title} - Dance sampler"),
        tag("style", Html(style)),
    )
    sections = (
        listening(content), figures(content), latent_space(content), training(content), what_it_is(content),
        costs(content),
    )  # fmt: skip
    made = moment(made_s)
    footer = tag("footer", f"Made {made or ''} by python -m trainer report. This page is whole: it needs no network.")
    body = tag("body", _header(content), tag("main", *sections), footer, tag("script", Html(script)))
    return join(Html("<!doctype html>\n"), tag("html", head, body, lang="en"), Html("\n")).encode("utf-8")


def _policy(script: str) -> str:
    """What the page may do: show what it holds and run its own script; load nothing, send nothing."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    allowed = ("img-src data:", "media-src data:", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'")
    return "; ".join(("default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"))


def _header(content: Content) -> Html:
    exported = moment(content.manifest.version)
    version = f"Version {content.manifest.version}{f', exported {exported}' if exported else ''}."
    origin = version if content.is_exported else f"A run of {moment(content.trained_s) or 'unknown date'}."
    said = "A model that turns dancing into sound: how it follows dances that it never saw, to look at and to hear."
    links = tag("nav", *(tag("a", words, href=place) for place, words in LINKS), aria_label="Sections")
    top = (tag("p", "Dance sampler · report", class_="eyebrow"), tag("h1", content.title))
    return tag("header", *top, tag("p", said, " ", origin, class_="subtitle"), links, cards(content))

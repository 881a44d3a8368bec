"""The other sections of the page: what it is, its figures, its training, its latent space, its costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict

from device.core.motiongram import MotionSettings
from trainer.data.prepare import describe
from trainer.evaluating.table import ROWS
from trainer.reporting.charts import HELD_OUT, LEARNED, colour_bar, curve_chart, map_chart, value_range
from trainer.reporting.content import Content
from trainer.reporting.costs import BUDGET_FPS
from trainer.reporting.curves import Curve
from trainer.reporting.latents import Float64, LatentMap
from trainer.reporting.markup import Html, join, tag
from trainer.reporting.words import figure_meanings, millions, minutes, moment, size

HEADINGS = {"f16": "ours, f16", "int8": "ours, int8"}
KEY = {
    "shuffled": "what it plays to the same motion in another order of time, against the dance as it was",
    "null": "the same sound against the dance of other moments: what is reached without following",
    "ceiling": "true spectra through the same synth: what a perfect model would reach",
    "real": "the recorded sound itself",
}
"""What a column of the table is that is not a player's name."""
TERMS = {
    "loss": "What training makes small: all terms, weighted",
    "sound": "Error of the sound rebuilt from motion alone, as the box plays: share of the spectra's variance",
    "drawn": "How far drawn sounds are from the real one, less how far from each other",
    "loudness": "By how much drawn sounds differ in loudness: share of the spectra's variance",
    "joint": "Error of the sound rebuilt from motion and sound together",
    "motion": "Error of the motion rebuilt from the latent space",
    "kl": "What the motion encoder says of a moment, nats",
    "kl_joint": "What the joint encoder says of a moment, nats",
    "tie": "By how much the two encoders differ, nats",
    "n_active": "Latents that say something",
}
"""What a term that the trainer logs is; others are shown by their name."""
HELD_OUT_PREFIX = "held_out/"


def cards(content: Content) -> Html:
    """The few numbers that say most."""
    material, cost = content.material, content.costs[0]
    name, label, form, factor = ROWS[0]
    first, ceiling = (content.figures[key].as_dict()[name] for key in (cost.variant, "ceiling"))
    shown = [
        (_cell(first, form, factor), label, f"ceiling {_cell(ceiling, form, factor)}"),
        (minutes(material.all_s - material.held_out_s), "of dance to learn from", f"{len(material.takes)} takes"),
        (minutes(material.held_out_s), "of dance held out", f"{minutes(content.played_s)} of it played here"),
        (size(cost.n_bytes), "of model", f"{millions(cost.n_macs)} multiply-accumulates a spectrum"),
        (f"{cost.p50_ms:.2g} ms", "a spectrum", f"{cost.variant} on {cost.runtime}, on this machine"),
    ]
    items = [
        tag("div", tag("dt", name), tag("dd", number, class_="large"), tag("dd", note)) for number, name, note in shown
    ]
    return tag("dl", *items, class_="cards")


def figures(content: Content) -> Html:
    """The table: every figure of every column, and what it means."""
    meanings = figure_meanings()
    names = [HEADINGS.get(name, name[:1].lower() + name[1:]) for name in content.figures]
    heads = [tag("th", name, scope="col", role="columnheader") for name in names]
    rows = []
    for figure, label, form, factor in ROWS:
        values = [column.as_dict()[figure] for column in content.figures.values()]
        meaning = tag("span", meanings.get(figure, ""), class_="meaning")
        cells = [
            tag("td", _cell(value, form, factor), data_label=head, role="cell")
            for head, value in zip(names, values, strict=True)
        ]
        rows.append(
            tag("tr", tag("th", tag("span", label), meaning, scope="row", role="rowheader"), *cells, role="row")
        )
    top = tag("tr", tag("th", "figure", scope="col", role="columnheader"), *heads, role="row")
    table = tag("table", tag("thead", top, role="rowgroup"), tag("tbody", *rows, role="rowgroup"), role="table",
                class_="figures", style=f"--columns: {len(heads)}")  # fmt: skip
    lead = (
        f"Measured over {minutes(content.played_s)} of held-out dance, played through the engine itself. A figure "
        "means something between what is reached without following and what a perfect model would reach."
    )
    known = [(name, KEY[column]) for name, column in zip(names, content.figures, strict=True) if column in KEY]
    key = tag("ul", *(tag("li", tag("strong", name), f": {words}") for name, words in known), class_="columns")
    return tag(
        "section",
        tag("h2", "How well it follows"),
        tag("p", lead, class_="lead"),
        key,
        tag("div", table, class_="wide"),
        id="figures",
    )


def _cell(value: float | None, form: str, factor: float) -> str:
    # Adding 0 takes the sign from a rounded -0.
    text = "\N{EN DASH}" if value is None else form.format(round(value * factor, 3) + 0.0)
    return text.replace("-", "\N{MINUS SIGN}")


def training(content: Content) -> Html:
    """Curves of the run, or one line that says why there are none."""
    heading = tag("h2", "How it was trained")
    if not content.curves:
        why = "No run was given: a bundle does not keep the curves of its training." if content.run is None else (
            "The run's folder holds no log of its training that can be read."
        )  # fmt: skip
        return tag("section", heading, tag("p", why, class_="lead"), id="training")
    key = tag("p", tag("span", HELD_OUT, class_="key held"), tag("span", LEARNED, class_="key learned"), class_="keys")
    charts = [_curve_figure(name, curves) for name, curves in _by_term(content.curves)]
    lead = tag("p", "Over the steps of training; the held-out part was only looked at.", class_="lead")
    return tag("section", heading, lead, key, tag("div", *charts, class_="charts"), id="training")


def _by_term(curves: dict[str, Curve]) -> Iterator[tuple[str, dict[str, Curve]]]:
    """Each term with its curves, those first that were also looked at held out."""
    names = dict.fromkeys(name.removeprefix(HELD_OUT_PREFIX) for name in curves)
    for name in sorted(names, key=lambda name: f"{HELD_OUT_PREFIX}{name}" not in curves):
        found = {LEARNED: curves.get(name), HELD_OUT: curves.get(f"{HELD_OUT_PREFIX}{name}")}
        yield name, {kind: curve for kind, curve in found.items() if curve is not None}


def _curve_figure(name: str, curves: dict[str, Curve]) -> Html:
    ends = "; ".join(f"{kind} from {c.values[0]:.3g} to {c.values[-1]:.3g}" for kind, c in curves.items())
    chart = curve_chart(curves, f"{name}: {ends}")
    last = ", ".join(f"{curve.values[-1]:.3g} {kind}" for kind, curve in curves.items())
    words = tag("figcaption", tag("strong", name), f" {TERMS[name]}. " if name in TERMS else " ", f"At the end {last}.")
    return tag("figure", words, chart)


def latent_space(content: Content) -> Html:
    """The two maps, or one line that says why there are none."""
    heading, drawn = tag("h2", "What the model makes of motion"), content.latent_map
    if drawn is None:
        why = "Where motion lies in the latent space cannot be read from this bundle's model: it is built otherwise."
        return tag("section", heading, tag("p", why, class_="lead"), id="latents")
    n_latents, n = content.manifest.n_latent, len(drawn.points)
    lead = (
        f"Each point is a moment of held-out motion, {n} in all: the mean of q(z|m), its {n_latents} latents seen "
        f"along the two directions in which they vary most ({drawn.shares[0]:.0%} and {drawn.shares[1]:.0%} of all). "
        "Where colours change smoothly from one side to another, the model tells apart what they show."
    )
    loudness, height = content.moments.loudness_db, content.moments.height * 100.0
    maps = [
        _map_figure(drawn, "loudness", "of the real sound at that moment", loudness, "{:.0f} dBFS"),
        _map_figure(drawn, "height", "of the motion in the picture; hollow: nothing moved", height, "{:.0f}% up"),
    ]
    body = tag("div", *maps, class_="maps")
    return tag("section", heading, tag("p", lead, class_="lead"), body, id="latents")


def _map_figure(drawn: LatentMap, name: str, words: str, values: Float64, form: str) -> Html:
    low, high = (form.format(value).replace("-", "\N{MINUS SIGN}") for value in value_range(values))
    chart = map_chart(drawn, values, f"Latent map, coloured by the {name} {words}; from {low} to {high}")
    caption = tag("figcaption", tag("strong", f"By the {name}"), f" {words}")
    return tag("figure", caption, chart, colour_bar(low, high))


def costs(content: Content) -> Html:
    """Size, work and time, and what follows for the box."""
    heads = ("variant", "file", "work a spectrum", f"work a second at {BUDGET_FPS:.0f} fps", "time a spectrum, p50",
             "p99", "share of one core")  # fmt: skip
    rows = [
        (cost.variant, size(cost.n_bytes), f"{cost.n_macs / 1e6:.3g} MMAC",
         f"{cost.n_macs * BUDGET_FPS / 1e6:.3g} MMAC",
         f"{cost.p50_ms:.3g} ms", f"{cost.p99_ms:.3g} ms", f"{cost.core_share:.1%}")
        for cost in content.costs
    ]  # fmt: skip
    table = _table(heads, rows)
    runtime = content.costs[0].runtime
    lead = (
        f"Timed on this machine: {content.machine}; {runtime}, one thread, processor time. The share of a core is that "
        "of window, model and synth at the takes' own frame rate. MMAC: a million multiply-accumulates."
    )
    need = _needs(content)
    more = (
        "A smaller board takes longer: make bench writes estimates for some, with their sources, to "
        "tests/bench/RESULTS.md; python -m device perform measures on the board itself."
    )
    words, note = tag("p", lead, class_="lead"), tag("p", more, class_="note")
    return tag("section", tag("h2", "What the box needs"), words, tag("div", table, class_="wide costs"), need, note,
               id="costs")  # fmt: skip


def _needs(content: Content) -> Html:
    manifest = content.manifest
    motion = manifest.motion
    return _facts(
        ("camera", f"any; its picture is made {motion.width} by {motion.height} points, grey"),
        ("looks back", f"{manifest.segment_s:g} s: {manifest.n_columns} columns at {manifest.grid_rate_hz:g} a second"),
        ("sound card", f"{manifest.rate_hz} Hz"),
        ("runtime", "tflite-runtime or ai-edge-litert, one thread"),
        ("disk", f"{size(sum(entry.size for entry in manifest.files.values()))} of models"),
    )


def what_it_is(content: Content) -> Html:
    """Name, origin, material and settings."""
    manifest, material = content.manifest, content.material
    if material.numbers:
        held_out = f"takes {' '.join(map(str, material.numbers))}, whole"
    else:
        held_out = f"the last {material.part:.0%} of each take"
    facts = _facts(
        ("name", manifest.name),
        ("trained", moment(content.trained_s)),
        ("version", f"{manifest.version}" if content.is_exported else "none yet: not exported"),
        ("exported", moment(manifest.version) if content.is_exported else None),
        ("signed", "yes" if manifest.signed else "no"),
        ("takes", f"{len(material.takes)}, {minutes(material.all_s)} in all"),
        ("held out", f"{held_out}: {minutes(material.held_out_s)}"),
        ("segment", f"{manifest.segment_s:g} s"),
        ("lead of the sound", f"{1000 * manifest.lead_s:g} ms"),
        ("latents", f"{manifest.n_latent}"),
        ("spectrum", f"{manifest.n_bins} bins of {manifest.synth.n_fft} points, to the power {manifest.synth.power:g}"),
        ("motion", _motion_words(manifest.motion)),
        ("played at temperature", f"{manifest.temperature:g} unless told otherwise"),
        *([("trained for", f"{content.run.preset.n_steps} steps of {content.run.preset.batch_size} examples")]
          if content.run else []),
    )  # fmt: skip
    return tag("section", tag("h2", "What it is"), facts, _takes(content), _settings(content), id="what")


def _motion_words(motion: MotionSettings) -> str:
    before = f"difference to {1000 * motion.difference_time_s:g} ms before" if motion.difference_time_s else (
        "difference to the frame before"
    )  # fmt: skip
    return f"{before}, threshold {100 * motion.threshold:g}% of full scale, filter {motion.filter}"


def _takes(content: Content) -> Html:
    heads = ("take", "name", "lasts", "frames a second", "motion, grey levels", "sound, dBFS", "held out")
    rows = []
    for take in content.material.takes:
        said = describe(take)
        whole = "all" if content.material.is_held_out(take) else "no"
        held_out = whole if content.material.numbers else f"last {content.material.part:.0%}"
        rows.append((f"{take.number:04d}", said["name"], f"{take.duration_s:.1f} s", said["fps"], said["quantity"],
                     said["level_dbfs"], held_out))  # fmt: skip
    return tag("details", tag("summary", f"All {len(rows)} takes"), tag("div", _table(heads, rows), class_="wide"))


def _settings(content: Content) -> Html | None:
    if content.run is None:
        return None
    rows = list(_flat("", asdict(content.run)))
    return tag("details", tag("summary", "All settings of the run"), tag("div", _table(("setting", "value"), rows)))


def _flat(prefix: str, values: dict[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", str(value)


def _facts(*pairs: tuple[str, str | None]) -> Html:
    shown = [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs if value is not None]
    return tag("dl", *shown, class_="facts")


def _table(heads: Iterable[object], rows: Iterable[Iterable[object]]) -> Html:
    top = tag("tr", *(tag("th", head, scope="col") for head in heads))
    body = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    return tag("table", tag("thead", top), tag("tbody", join(*body)))

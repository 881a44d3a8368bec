"""What is compared: groups of cases, each a model as it is trained and as it is played."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

HEADS = ("spectral", "categorical", "mdct", "multiband")
AMOUNTS_MIN = (1.0, 3.0, 10.0, 30.0)

HEADS_ABOUT = """\
What stands behind z; trunk, latents, takes, steps and batches are the same. *spectral*: magnitudes for the synth, ours.
*categorical*: a gain and one of 512 measured spectra for the synth; at temperature 1 drawn with slow Gumbel noise.
*mdct*: 512 sizes and the odds of their signs, overlap-added every 10.7 ms; temperature 1 tosses the signs by the odds.
*multiband*: the waveform of a block of 43 ms in 8 bands, from transposed convolutions and a multi-scale spectral loss,
every 16 ms shifted to where it goes on best, and cross-faded.
The null is the first column's sound against sound of other moments; the ceiling true spectra."""
DRAWING_ABOUT = """\
Drawn: z has a deviation and a prior, and draws are judged in training. Deterministic: no noise, no prior, no draws."""
DATA_ABOUT = "Minutes of takes to learn from, with the trainer's augmentation and without; the same number of steps."
MUSIC_ABOUT = "A piece of music that somebody danced to: its last third is played, the rest learned."


@dataclass(frozen=True)
class Training:
    """How a model is trained; what is not named is as in the program's own default.

    Attributes
    ----------
    head : str
        One of `HEADS`.
    segment_s, lead_s : float
    n_latent : int
    is_drawn : bool
        False: without noise and without a prior, a plain autoencoder.
    minutes : float or None
        Of takes to learn from; None: all.
    is_varied : bool
        False: without the trainer's augmentation.
    material : str
        'takes', or 'music': a piece danced to, which nobody made from the motion.
    """

    head: str = "spectral"
    segment_s: float = 0.5
    lead_s: float = 0.0
    n_latent: int = 32
    is_drawn: bool = True
    minutes: float | None = None
    is_varied: bool = True
    material: str = "takes"


@dataclass(frozen=True)
class Case:
    """A column of a table.

    Attributes
    ----------
    training : Training
    play : str
        'model'; 'null': the model's sound against music of other moments; 'ceiling': true spectra.
    variant : str
        'f16' or 'int8'.
    temperature : float
    """

    training: Training = field(default_factory=Training)
    play: str = "model"
    variant: str = "f16"
    temperature: float = 0.0

    @property
    def key(self) -> str:
        """The same for equal cases, with what differs from the default only."""
        return json.dumps(_differing(self), sort_keys=True)


def _differing(of: Any) -> dict[str, Any]:
    plain, values = asdict(type(of)()), asdict(of)
    found = {each.name: values[each.name] for each in fields(of) if values[each.name] != plain[each.name]}
    if "training" in found:
        found["training"] = _differing(of.training)
    return found


@dataclass(frozen=True)
class Group:
    """One question: cases by the heading of their column."""

    title: str
    about: str
    cases: dict[str, Case]


def groups(minutes: float, has_music: bool) -> dict[str, Group]:
    """All groups by name.

    Parameters
    ----------
    minutes : float
        How much of the takes there is to learn from.
    has_music : bool
        Whether there is a dance to music to learn from.
    """
    lengths = {f"{seconds:g} s": Case(Training(segment_s=seconds)) for seconds in (0.1, 0.25, 0.5, 1.0)}
    leads = {f"{ms} ms": Case(Training(lead_s=ms / 1000)) for ms in (0, 10, 20, 40)}
    sizes = {str(n): Case(Training(n_latent=n)) for n in (4, 8, 16, 32, 64)}
    drawn = {"drawn, mean": Case(), "drawn, T = 1": Case(temperature=1.0)}
    drawn["deterministic"] = Case(Training(is_drawn=False))
    files = {"f16": Case(), "int8": Case(variant="int8")}
    made = {
        "heads": Group("Heads", HEADS_ABOUT, _heads()),
        "windows": Group("Window lengths", "Seconds of motion that the model sees.", lengths),
        "lead": Group("Lead", "How far ahead of the motion the sound lies that is learned.", leads),
        "latents": Group("Latent sizes", "Values in z.", sizes),
        "drawing": Group("Deterministic or drawn", DRAWING_ABOUT, drawn),
        "integers": Group("int8 or float16, in sound", "Both files of one model, heard through the synth.", files),
        "data": Group("Little data", DATA_ABOUT, _amounts(minutes)),
    }
    if has_music:
        made["music"] = Group("Music that nobody made from the motion", MUSIC_ABOUT, _music())
    return made


def _heads() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for head in HEADS:
        training = Training(head=head)
        cases |= {head: Case(training), f"{head}, T = 1": Case(training, temperature=1.0)}
    return {**cases, "null": Case(play="null"), "ceiling": Case(play="ceiling")}


def _amounts(minutes: float) -> dict[str, Case]:
    """With and without augmentation; the default's own training stands for all that there is."""
    cases: dict[str, Case] = {}
    for amount in [*(each for each in AMOUNTS_MIN if each < minutes), None]:
        label = f"all, {minutes:.1f} min" if amount is None else f"{amount:g} min"
        cases[label] = Case(Training(minutes=amount))
        cases[f"{label}, not varied"] = Case(Training(minutes=amount, is_varied=False))
    return cases


def _music() -> dict[str, Case]:
    trainings = {"varied": Training(material="music"), "not varied": Training(material="music", is_varied=False)}
    cases = {label: Case(training) for label, training in trainings.items()}
    cases["varied, T = 1"] = Case(trainings["varied"], temperature=1.0)
    return {**cases, **{play: Case(trainings["varied"], play) for play in ("null", "ceiling")}}

"""The voice: the newest score in, blocks of sound out. The audio thread's half of the engine; no clock, no files."""

from __future__ import annotations

import math

import numpy as np

from device.core.fade import Fade
from device.core.synth import Synth
from device.edges.model import Float32
from device.engine.scores import News, Scores


class Voice:
    """Fills every block, whatever the model thread does.

    Parameters
    ----------
    scores : Scores
        What is played.
    synth : Synth
        Whose sound is heard.
    fade_s : float
        When no more frames come, the sound falls to silence in this time.

    Notes
    -----
    Audio path. `fill` reads `scores.news` once and asks nothing of anyone: it takes no lock, touches no file, logs
    nothing, and loops in Python only over the steps of a segment that begin within the block. Position within a
    segment is counted in samples, so that the sound hangs on no clock.
    """

    def __init__(self, scores: Scores, synth: Synth, fade_s: float = 0.18) -> None:
        self._scores = scores
        self.rate_hz = synth.settings.rate_hz
        self._synth = synth
        self._fade = Fade(self.rate_hz, fade_s)
        self._silence: Float32 = np.zeros(synth.settings.n_bins, np.float32)
        self._news: News | None = None
        self._score = scores.rest
        self._step = -1
        self._n_played = 0  # samples of the score

    def fill(self, block: Float32) -> News | None:
        """Fill a block with the next samples.

        Parameters
        ----------
        block : np.ndarray, shape (n_samples,), float32
            Written in place; full scale is -1 to 1, and a model may say more (`Mixer` limits it).

        Returns
        -------
        News or None
            The news with a score that is first heard in this block, if any.
        """
        fresh = self._take_news()
        n_done = 0
        while n_done < len(block):
            n = min(len(block) - n_done, self._take_step())
            part = block[n_done : n_done + n]
            self._synth.fill(part)
            self._fade.apply(part)
            self._n_played += n
            n_done += n
        return fresh

    def _take_news(self) -> News | None:
        news = self._scores.news  # one read: it may be another a moment later
        if news is None or news is self._news:
            return None
        self._news = news
        self._fade.hold(round(news.hold_s * self.rate_hz))
        if news.score is self._score:
            return None
        self._score = news.score
        self._n_played = 0
        self._step = -1
        return news

    def _take_step(self) -> int:
        """Give the synth the spectrum that is due; how many samples it lasts."""
        score = self._score
        if self._fade.is_silent:
            if self._step != -1:
                # Otherwise the old sound's last grain would be heard when frames come again.
                self._synth.set_spectrum(self._silence)
                self._step = -1
            return self.rate_hz
        last = len(score.spectra) - 1
        # A millionth of a step early: the rounding of a division must not cost a sample.
        due = min(math.floor(self._n_played * score.steps_per_s / self.rate_hz + 1e-6), last)
        ready = max(0, min(due, score.n_ready - 1))
        if ready != self._step:
            self._synth.set_spectrum(score.spectra[ready])
            self._step = ready
        if due == last:
            return self._fade.n_until_silent
        next_sample = math.ceil((due + 1) * self.rate_hz / score.steps_per_s - 1e-6)
        return min(max(1, next_sample - self._n_played), self._fade.n_until_silent)

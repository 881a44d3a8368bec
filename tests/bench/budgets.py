"""The budgets that hold without a camera and a card, and the parts that they are made of."""

from __future__ import annotations

from collections.abc import Iterator

from device.core.bundle import MODEL_FILES
from device.edges.model_tflite import installed_runtimes
from device.models.bundles import load_bundle
from tests.bench.bench import Bench
from tests.bench.figures import Figure, Section
from tests.bench.parts import measure_model, measure_motiongram, measure_synth
from tests.bench.whole import measure_chain, measure_memory, measure_start

HOW = """\
- **motiongram**: each frame of the clip, decoded before; p50 and p99 over the frames, wall clock. In turn with it,
  frame by frame, the functions of musicalgestures for the same: OpenCV's difference to the frame before, its
  `filter_frame` ('Regular'), its `motiongram_data` for rows and for columns; without its median (kernel 1), which
  computes what ours does with difference time 0, and with its default kernel. Ours also gives quantity, centroid
  and area. (For video files it has another way, through FFmpeg.)
- **model**: runs back to back on the windows of the clip, inputs and output copied as the engine does; wall clock,
  one thread. Within the engine, where other work has used the caches since, a run takes longer.
- **synth**: real-time factor in processor time; the blocks' times are wall clock. The model's own spectra for the
  clip that are not silent, 60 a second.
- **whole chain**: `python -m device perform --clock virtual --json`, several runs: processor time of motiongram,
  window, model and synth over the time of the sound, which is the clip and a second. Decoding is not in it. Once at
  the clip's own rate; once at 60 fps, for which the budget is: the same pictures, shown faster.
- **engine**: from a frame's arrival to its first sample handed over, wall clock. With the virtual clock nobody
  waits: this is the work alone, and each percentile is that of the worst run. With the real clock the wait for the
  next block is in it, and the card is a WAV that takes blocks as a card would.
- **process start**: from just before the process is started to the moment when the file that it writes holds a
  whole block, looked at every millisecond; real clock, so the first block comes with the first frame. Python, all
  imports, checking and loading of the bundle and opening of the clip are in it. It is silent or nearly so: one
  frame shows no motion. The program's files are in the system's cache.
- **memory**: of all processes of a performance in real time, looked at four times a second: PSS, which counts what
  they share once, is what the limit is for; RSS counts it in each of them.
"""


def measure_budgets(bench: Bench) -> Section:
    """Every part once, on the dance; then the program as a user starts it."""
    effort, show, manifest = bench.effort, bench.show, bench.bundle.manifest
    bench.say("motiongram, beside that of musicalgestures")
    figures = measure_motiongram(bench.dance.frames, manifest.motion)
    bench.say("model, every variant on every runtime")
    figures += _models(bench)
    bench.say("synth")
    figures += measure_synth(manifest.synth, bench.dance.spectra, bench.config.audio.period, effort.synth_s)
    bench.say("whole chain")
    figures += measure_chain(show, effort.n_chain_runs)
    bench.say("process start")
    figures.append(measure_start(show, effort.n_starts))
    bench.say("memory")
    figures += measure_memory(show, effort.real_clock_s)
    return Section("Parts", figures, how=HOW)


def _models(bench: Bench) -> Iterator[Figure]:
    """Both variants on every runtime that is here."""
    for variant in MODEL_FILES:
        for runtime in installed_runtimes():
            yield model_figure(bench, variant, runtime)


def model_figure(bench: Bench, variant: str, runtime: str) -> Figure:
    """One variant on one runtime, on the windows of the dance."""
    model = load_bundle(bench.show.bundle, variant, runtime).model
    return measure_model(model, bench.dance.windows, bench.effort.n_model_runs)

"""The scripts of docs/examples as they stand, beside the same scripts on PyTorch: losses first, then times in turn.

    python benchmarks/examples.py --data-dir DIR [--scripts NAME,...] --json benchmarks/results/examples.json

DIR has the corpora as `benchmarks/tutorials.py` takes them, and sizes are its. Each library draws weights and masks of
its own, so the mean losses of the first updates are held against each other by TOLERANCE; that they are the same
functions, by value and gradient, is for the tests to show.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from figures import Figures
from peers.scripts import ScriptTask
from racing import OURS, Call, arena, leave_out, parser, race, run, show, spared, usable
from tutorials import TUTORIALS

FIRST, UPDATES = 20, 5  # updates whose losses are compared, and those of a round
TOLERANCE = 0.1  # of the loss; those of the two libraries that are kept lie within 0.02


def task(name: str, options: Any) -> ScriptTask:
    """The script at its tutorial's sizes, with more epochs than a race takes; a quick one on pairs that it makes."""
    asked = [] if options.quick else TUTORIALS[name].options.format(dir=options.data_dir.absolute()).split()
    return ScriptTask(name, (*asked, "--epochs", "100000"))


def measure(name: str, options: Any) -> dict[str, Any]:
    """Times of an update, of the variants whose losses fall as ours do."""
    where = arena(options)
    names, left_out = usable([OURS, "pytorch"], options.variants)
    first, updates = (4, 2) if options.quick else (FIRST, UPDATES)
    losses = {}
    with where.open(names, options.threads, task(name, options)) as workers:
        for variant, worker in workers.items():
            with spared(variant, left_out, where.strict):
                losses[variant] = worker.call("updates", first)[1]
                away = abs(losses[variant] / losses[OURS] - 1)
                assert away <= TOLERANCE, f"a loss of {losses[variant]:.3f}, not {losses[OURS]:.3f}"
        able = {variant: worker for variant, worker in workers.items() if variant not in left_out}
        found = race(able, [Call("updates", (updates,), updates)], options.rounds, where.strict)
    leave_out(found, left_out)
    return {"script": f"docs/examples/{name}.py", **found, "losses": losses}


def main() -> None:
    """Verify, race, print, write."""
    made = parser(__doc__)
    made.add_argument("--data-dir", type=Path, help="folder of the corpora; not needed by --quick")
    made.add_argument("--scripts", type=lambda text: text.split(","), help=f"some of {', '.join(TUTORIALS)}")
    options = made.parse_args()
    names = options.scripts or [*TUTORIALS]
    if unknown := set(names) - set(TUTORIALS):
        raise SystemExit(f"--scripts is {', '.join(sorted(unknown))}; expected some of {', '.join(TUTORIALS)}")
    if options.data_dir is None and not options.quick:
        raise SystemExit("--data-dir is missing; expected the folder of the corpora")
    with Figures(options, "races") as figures:
        for name, found in figures.measure({name: partial(measure, name, options) for name in names}):
            show(name, found, "ms", 1e-3)


if __name__ == "__main__":
    run(main)

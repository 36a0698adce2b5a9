"""What explaining a training costs: attributions, exploration and card together, against the step `fit`.

All of it is on the demo's data (config/demo.yaml, some 590,000 simulated payments): two nights are trained, so that the second
has a champion and an earlier training set to be compared with, and the second night is measured. Steps are called one after
another in this process; their libraries are imported before and counted apart as `import_seconds`.

fit_seconds
    CatBoost on the training window, with what the step records; the same data and settings as the demo's.
attributions_seconds, exploration_seconds, card_seconds
    The steps `explain` (both models, pictures, log to MLflow), `explore` (with the comparison) and `write_card`.
ratio
    Their sum over `fit_seconds`.

The last line is a JSON object; where a step was repeated, it tells the median of its seconds.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from deploy.libraries import LIBRARIES
from ml import steps
from ml.__main__ import main as command
from ml.config import PROJECT, Config, load
from ml.explanation import card
from ml.registry.ledger import Ledger
from ml.simulate.feed import write_until
from ml.training import fit

DAY = dt.timedelta(days=1)
DEMO = str(PROJECT / "config" / "demo.yaml")


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.explanation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="folder to train in, or that holds the two nights (default: a new one)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each step (default: %(default)s)")
    asked = parser.parse_args()
    begun = time.perf_counter()
    for library in (*LIBRARIES, "jinja2"):
        import_module(library)
    imports = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as temporary:
        home = (asked.home or Path(temporary)).resolve()
        config = load(DEMO).model_copy(update={"home": home})
        version = trained(config)
        told = measured(config, version, asked.repeat)
    spent = sum(told[name] for name in ("attributions_seconds", "exploration_seconds", "card_seconds"))
    print(json.dumps({"ratio": round(spent / told["fit_seconds"], 3), "import_seconds": round(imports, 2), **told}))


def trained(config: Config) -> str:
    """The version of the second night, trained unless it is there."""
    assert config.feed is not None
    nights = [config.feed.first_as_of, config.feed.first_as_of + DAY]
    for night in nights[len(Ledger(config.ledger).decisions(config.name)) :]:
        write_until(config, (night - DAY).date())
        for word in ("ingest", "train"):
            if command([word, "--config", DEMO, "--home", str(config.home), "--as-of", night.isoformat()]):
                raise SystemExit(f"{word} as of {night} failed; see above")
    return Ledger(config.ledger).decisions(config.name)[len(nights) - 1].challenger_version


def measured(config: Config, version: str, repeat: int) -> dict[str, Any]:
    """Median seconds of each step on a version that was trained before."""
    as_of = card.newest(config, version)
    evidence = card.gather(config, as_of, version)
    model, training_set = evidence.fitted.model, evidence.training_set.training_set

    def again(step: str, folder: Path, **references: str) -> Callable[[], float]:
        def run() -> float:
            shutil.rmtree(folder, ignore_errors=True)
            begun = time.perf_counter()
            steps.run(step, config, as_of, references)
            return time.perf_counter() - begun

        return run

    runs = {
        "attributions_seconds": again("explain", config.home / "explanations", model=model),
        "exploration_seconds": again("explore", config.home / "explorations", training_set=training_set),
        "card_seconds": again("write_card", config.home / "cards", version=version),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ("fit_seconds", *runs)}
    for number in range(repeat):
        seconds["fit_seconds"].append(fitted_anew(config, as_of, training_set, number))
        for name, run in runs.items():
            seconds[name].append(run())
    return {name: round(statistics.median(values), 2) for name, values in seconds.items()}


def fitted_anew(config: Config, as_of: dt.datetime, training_set: str, number: int) -> float:
    """Seconds of the step `fit` on a frozen training set, in a folder that knows no model yet."""
    with tempfile.TemporaryDirectory() as temporary:
        elsewhere = config.model_copy(update={"home": Path(temporary) / str(number)})
        elsewhere.home.mkdir()
        (elsewhere.home / "training_sets").symlink_to(config.home / "training_sets")
        fit.registry(elsewhere).experiment(config.name, f"{elsewhere.home}/mlartifacts")
        begun = time.perf_counter()
        steps.run("fit", elsewhere, as_of, {"training_set": training_set})
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()

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
processor_ratio
    The same in processor time, all threads of this process included: other programs disturb it less than `ratio`.

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
from importlib import import_module
from pathlib import Path

from deploy.libraries import LIBRARIES
from ml import steps
from ml.__main__ import main as command
from ml.config import PROJECT, Config, load
from ml.explanation import card
from ml.ledger.ledger import Ledger
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
    print(json.dumps({"ratio": ratio(told, "seconds"), "import_seconds": round(imports, 2), **told}))


def ratio(told: dict[str, float], unit: str) -> float:
    """What explaining cost over what fitting cost."""
    spent = sum(told[f"{name}_{unit}"] for name in ("attributions", "exploration", "card"))
    return round(spent / told[f"fit_{unit}"], 3)


def trained(config: Config) -> str:
    """The version of the second night, trained unless it is there."""
    assert config.feed is not None
    nights = [config.feed.first_as_of, config.feed.first_as_of + config.gate.fresh.value * DAY]
    for night in nights[len(Ledger(config.ledger).decisions.all(config.name)) :]:
        write_until(config, (night - DAY).date())
        for word in ("ingest", "train"):
            if command([word, "--config", DEMO, "--home", str(config.home), "--as-of", night.isoformat()]):
                raise SystemExit(f"{word} as of {night} failed; see above")
    return Ledger(config.ledger).decisions.all(config.name)[len(nights) - 1].challenger_version


def measured(config: Config, version: str, repeat: int) -> dict[str, float]:
    """Median seconds, by the clock and of processors, of each step on a version that was trained before."""
    as_of = card.newest(config, version)
    evidence = card.gather(config, as_of, version)
    model, training_set = evidence.fitted.model, evidence.training_set.training_set
    runs = {
        "attributions": ("explain", config.home / "explanations", {"model": model}),
        "exploration": ("explore", config.home / "explorations", {"training_set": training_set}),
        "card": ("write_card", config.home / "cards", {"version": version}),
    }
    found: dict[str, list[float]] = {}
    for number in range(repeat):
        with tempfile.TemporaryDirectory() as temporary:
            elsewhere = without_models(config, Path(temporary) / str(number))
            _measure(found, "fit", elsewhere, as_of, "fit", {"training_set": training_set})
        for name, (step, folder, references) in runs.items():
            shutil.rmtree(folder, ignore_errors=True)
            _measure(found, name, config, as_of, step, references)
    told = {name: round(statistics.median(values), 2) for name, values in found.items()}
    return {**told, "processor_ratio": ratio(told, "processor")}


def _measure(
    found: dict[str, list[float]], name: str, config: Config, as_of: dt.datetime, step: str, references: dict[str, str]
) -> None:
    clock, processor = time.perf_counter(), time.process_time()
    steps.run(step, config, as_of, references)
    found.setdefault(f"{name}_seconds", []).append(time.perf_counter() - clock)
    found.setdefault(f"{name}_processor", []).append(time.process_time() - processor)


def without_models(config: Config, home: Path) -> Config:
    """The same training sets under a home that knows no model yet, so that `fit` fits."""
    elsewhere = config.model_copy(update={"home": home})
    home.mkdir()
    (home / "training_sets").symlink_to(config.home / "training_sets")
    fit.registry(elsewhere).experiment(config.name, f"{home}/mlartifacts")
    return elsewhere


if __name__ == "__main__":
    main()

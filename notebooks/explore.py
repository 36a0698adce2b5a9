# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A deployment's data, features and models
#
# This file is a notebook as text: open it in Jupyter or VS Code with Jupytext, or run it as a script. It reads and changes
# nothing. Name a deployment file in `PERENNIAL_CONFIG`; without it, the demo's is read, which `make demo` fills.

# %%
import os

from ml.config import load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.model.model import Model
from ml.overview.decisions import decisions
from ml.training import dataset, fit

config = load(os.environ.get("PERENNIAL_CONFIG", "config/demo.yaml"))

# %% [markdown]
# ## The lake
#
# Tables are opened in DuckDB. `event_time` is when a row happened, `known_at` when this system could first have read it.

# %%
tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
with Lake(config.lake).connect(tables) as connection:
    days = connection.execute(
        """
        SELECT CAST(event_time AS DATE) AS day, count(*) AS events, avg(coalesce(label, 0)) AS positives
        FROM events LEFT JOIN (SELECT event_id, max(label) AS label FROM labels GROUP BY event_id) USING (event_id)
        GROUP BY day ORDER BY day
        """
    ).df()
days.tail()

# %% [markdown]
# ## A training set
#
# One row an event, its features as they were known at that event, and its label. `split` says what the row was used for.

# %%
newest = max(dataset.all_records(config), key=lambda record: record.as_of)
rows = dataset.read(config, newest.training_set)
rows.groupby(dataset.SPLIT)["label"].agg(["size", "mean"])

# %% [markdown]
# ## Verdicts and the champion

# %%
for verdict in decisions(config):
    print(f"{verdict.as_of:%Y-%m-%d}  version {verdict.challenger_version}: {verdict.outcome}. {verdict.reason}")  # noqa: T201
champion = Ledger(config.ledger).moves.champion(config.name)

# %% [markdown]
# ## Scores of the champion

# %%
if champion is not None:
    model = Model(fit.registry(config).fetch(champion))
    holdout = rows[rows[dataset.SPLIT] == dataset.HOLDOUT].tail(2000)
    scored = holdout.assign(score=model.score(holdout))[["event_time", "label", "score"]]
    scored.sort_values("score", ascending=False).head()

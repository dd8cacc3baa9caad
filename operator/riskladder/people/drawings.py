"""What the records of an escalation say, drawn. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from riskladder.people.charts import Point, Threshold, readings_chart
from riskladder.people.facts import Limit, Reading, Story


def reading_charts(story: Story) -> Iterator[str]:
    """Yield a chart (SVG) for each indicator that was acted on, with its thresholds."""
    for indicator in dict.fromkeys(reading.indicator for reading in story.readings):
        mine = [reading for reading in story.readings if reading.indicator == indicator]
        points = [
            Point(r.at, r.number, r.event, r.is_breach) for r in mine if r.at is not None and r.number is not None
        ]
        if points:
            limits = [found for found in story.limits if found.indicator == indicator]
            yield readings_chart(points, _thresholds(limits, mine), title=indicator)


def _thresholds(limits: Sequence[Limit], readings: Sequence[Reading]) -> Iterator[Threshold]:
    """Yield the thresholds of all tiers where the policy is on record, else those that readings name."""
    lines = {(found.tier, found.value, found.side) for found in limits}
    lines |= {(r.tier, r.limit, r.side) for r in readings if r.limit is not None}
    order = list(dict.fromkeys([found.tier for found in limits] + [r.tier for r in readings]))
    for tier, value, side in sorted(lines, key=lambda line: (order.index(line[0]), line[1])):
        yield Threshold(tier, value, side, severe=tier == order[-1])

"""On which side a metric is bad, and between which values it can lie: what its name or its statistical test says.

Sources: the statistical tests of Evidently (``legacy/calculations/stattests``: each says what it returns and on which
side of the threshold it alarms; its total variation distance and its maximum mean discrepancy return the p-value of a
permutation test), the drift methods and estimators of NannyML (whose ``chi2`` is the statistic, and no p-value), the
metrics of TrustyAI and of Vertex AI.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from riskladder.monitors.entries import Direction

HIGH, LOW, BOTH = Direction.HIGH_IS_BAD, Direction.LOW_IS_BAD, Direction.BOTH_ARE_BAD


class Known(NamedTuple):
    """What is known of a metric or of a method."""

    direction: Direction
    least: float | None = None
    most: float | None = None
    fair: float | None = None
    """The value at which nothing is wrong, where both sides are bad."""


NOTHING = Known(Direction.UNKNOWN)
P_VALUE = Known(LOW, 0.0, 1.0)
_DISTANCE, _BOUNDED_DISTANCE = Known(HIGH, 0.0), Known(HIGH, 0.0, 1.0)
_SCORE, _ERROR, _RATE = Known(LOW, 0.0, 1.0), Known(HIGH, 0.0), Known(HIGH, 0.0, 1.0)

_WORDS: tuple[tuple[Known, str], ...] = (
    (
        P_VALUE,
        """
        ks kstest2samp chisquare z ztest anderson andersondarling fisher fisherexact fisherexacttest cramervonmises
        gtest ttest mannw mannwhitneyurank mannwhitneyuranktest es eppssingleton tvd totalvariationdistance mmd
        empiricalmmd empericalmmd pval pvalue
    """,
    ),
    (
        _DISTANCE,
        """
        psi populationstabilityindex chi2 wasserstein wassersteindistance wassersteindistancenormed kldiv
        kullbackleiblerdivergence ed energydistance distance teststat reconstructionerror
    """,
    ),
    (
        _BOUNDED_DISTANCE,
        """
        jensenshannon jensenshannondistance jensenshannondivergence hellinger hellingerdistance linfinity
        kolmogorovsmirnov domainclassifier domainclassifierauroc perctextcontentdrift abstextcontentdrift
    """,
    ),
    (
        _SCORE,
        """
        accuracy precision recall f1 f1score f1bylabel precisionbylabel recallbylabel rocaucbylabel rocauc specificity
        tpr tnr averageprecision balancedaccuracy precisiontopk recalltopk fbetatopk hitrate map mrr ndcg
        bestclassbinaryaccuracy
    """,
    ),
    (Known(LOW, None, 1.0), "r2 r2score"),
    (Known(LOW, 0.0), "inrangevaluecount inlistvaluecount"),
    (
        _RATE,
        """
        fpr fnr driftshare shareofdriftedcolumns shareofmissingvalues missingvalues missingvaluesrate
        currentshareofmissingvalues unseenvalues
    """,
    ),
    (
        _ERROR,
        """
        logloss mae mape mse msle rmse rmsle meanabserror meanabspercerror rmserror absmaxerror
        missingvaluecount missingvaluescount datasetmissingvaluecount driftedcolumnscount duplicatedrowcount
        duplicatedcolumnscount emptyrowscount emptycolumnscount outrangevaluecount outlistvaluecount
        almostconstantcolumnscount
        constantcolumnscount numberofdriftedcolumns numberofmissingvalues
    """,
    ),
    (
        Known(BOTH, -1.0, 1.0, fair=0.0),
        """
        spd trustyaispd statisticalparitydifference demographicparitydifference equalizedoddsdifference aod
        averageoddsdifference apvd
    """,
    ),
    (Known(BOTH, 0.0, None, fair=1.0), "dir trustyaidir disparateimpactratio"),
)
_BY_WORD = {word: known for known, words in _WORDS for word in words.split()}
_P_VALUE = re.compile(r"\bp[_ -]?val(ue)?\b|p_value", re.IGNORECASE)


def known(*names: str) -> Known:
    """Return what is known by the first of some names that says anything, however it is spelt.

    Args:
        names: Such as ``K-S p_value``, ``jensen_shannon`` or ``F1Score``; the method comes before the metric.
    """
    for name in names:
        if _P_VALUE.search(name):
            return P_VALUE
        if (found := _BY_WORD.get(re.sub(r"[^a-z0-9]", "", name.lower()))) is not None:
            return found
    return NOTHING

"""Report readings from Python, without writing Kubernetes objects.

    from riskladder.client import report

    report("credit-scorer", {"psi": 0.21}, source="drift-monitor", namespace="models", samples=4000)

In a pod it is the pod's service account, elsewhere the user of the kubeconfig. ``Reporter`` keeps the connection for
monitors that go on running, and ``AsyncReporter`` is the same for asyncio. What can never work is ``Refused``; what may
work later is tried again until the deadline, and is then ``Unavailable``.
"""

from riskladder.client.blocking import Reporter, report
from riskladder.client.errors import Refused, ReportFailed, Unavailable
from riskladder.client.readings import Reading
from riskladder.client.reporter import AsyncReporter
from riskladder.client.results import Reported, Verdict

__all__ = [
    "AsyncReporter",
    "Reading",
    "Refused",
    "ReportFailed",
    "Reported",
    "Reporter",
    "Unavailable",
    "Verdict",
    "report",
]

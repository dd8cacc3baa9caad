"""Why a reading was not reported: for good, or for now."""

from __future__ import annotations


class ReportFailed(Exception):  # noqa: N818 - reads as a sentence at the call site
    """A reading was not reported: ``Refused`` for good, or ``Unavailable`` for now.

    Attributes:
        message: One sentence: what was found, what was expected, what to do.
        reason: One word, such as ``NoReading``, or the API server's, such as ``Forbidden``.
        status: HTTP status of the API server; 0 where the reading was not sent, or got no answer.
    """

    def __init__(self, message: str, *, reason: str, status: int = 0) -> None:
        super().__init__(message)
        self.message, self.reason, self.status = message, reason, status


class Refused(ReportFailed):
    """It is of no use to try the same again: it is no reading, or the API server does not take it.

    ``status`` is 0 where nothing was sent.
    """


class Unavailable(ReportFailed):
    """The API server could not be reached, was busy, or the operator has said nothing yet: try the same again later.

    Repeat it with the same ``observed_at``: the same reading counts once.

    Attributes:
        retry_after: Seconds that the API server asked to wait; 0 where it has not said.
        attempts: How often it was tried.
    """

    def __init__(
        self, message: str, *, reason: str, status: int = 0, retry_after: float = 0.0, attempts: int = 1
    ) -> None:
        super().__init__(message, reason=reason, status=status)
        self.retry_after, self.attempts = retry_after, attempts

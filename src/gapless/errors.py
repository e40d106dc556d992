"""One tree of errors; whether a failure may be tried again is a fact of its class.

GaplessError
├── ConfigurationError            bad input or settings; nothing was started
├── NotReachable                  a server that is needed does not answer
└── ProviderError                 what a provider call can end in
    ├── SubmissionRefused         surely not created; safe to send again, a bounded number of times
    ├── SubmissionRejected        surely not created, and the same request will never be
    ├── SubmissionUnknown         may have been created; never sent again blindly
    ├── Unavailable               a read that may be tried again
    ├── InteractionNotFound       the provider does not know the id (yet, or any more)
    └── ReadRejected              a read that will not succeed by trying again
"""


class GaplessError(Exception):
    """Something that Gapless can name went wrong."""


class ConfigurationError(GaplessError):
    """The input or the settings do not fit. Nothing was started."""


class NotReachable(GaplessError):
    """A server that is needed does not answer."""


class ProviderError(GaplessError):
    """A call to a provider did not succeed.

    Attributes:
        retry_after: seconds the provider asks to wait, or None.
        status: the HTTP status, or None when no answer arrived.
    """

    retryable = False

    def __init__(self, message: str, *, retry_after: float | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class SubmissionRefused(ProviderError):
    """The provider surely did not take the task: no connection, or it said to come back later."""

    retryable = True


class SubmissionRejected(ProviderError):
    """The provider surely did not take the task, and would not take it again."""


class SubmissionUnknown(ProviderError):
    """The task was sent and no usable answer came back: it may run and be billed."""


class Unavailable(ProviderError):
    """The provider could not be read just now."""

    retryable = True


class InteractionNotFound(ProviderError):
    """The provider does not know the interaction: not visible yet, or removed."""


class ReadRejected(ProviderError):
    """The provider refuses to show the interaction: key, permission or payment."""

"""Every error this project raises on purpose.

    CloudschedError
    ├── ConfigError            a configuration, limits or alias file is wrong
    ├── SubmitError            a submit description is wrong
    ├── DocumentError          a state document (dump) is wrong
    ├── BadRequest             a client's parameter is wrong
    ├── BadDefinition          a client's definition of a cloud is wrong
    ├── NotFound               a cloud, VM, job, user or operation that is not there
    ├── Forbidden              whoever asks may not have this
    ├── Conflict               the thing is there but not in a state that allows this
    │   └── Unconfirmed        a verb would do more, or something else, than whoever asks has confirmed
    ├── PictureChanged         what a verb was held against is not what is there now
    ├── PageExpired            the listing that a page token belongs to is no longer kept
    ├── MissingExtra           an optional library is needed and absent
    ├── StateError
    │   ├── StateUnavailable   locked, full, read-only or gone: try again later
    │   ├── StateMismatch      the schema is of another version
    │   ├── StateHeld          another process holds the state
    │   └── StateTakenOver     another engine took over: stop
    ├── CloudError             what a cloud answered, told apart by what to do about it
    │   ├── QuotaExceeded      the cloud has no room for us now
    │   ├── Transient          try again soon
    │   ├── Outage             nothing answers there
    │   ├── CredentialRefused  somebody must mend the credentials
    │   └── BadRequirement     this request can never work there (image, flavor, network)
    └── BatchError             the batch system does not answer or refuses

An error knows no HTTP and no exit status: `web/errors.py` and the commands have one table each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class CloudschedError(Exception):
    """The root: `str()` of any of them is a sentence fit for a person."""


class _FileError(CloudschedError):
    """A complaint about a place in a file: `path:line: problem`."""

    def __init__(self, problem: str, *, path: str = "", line: int = 0) -> None:
        self.problem, self.path, self.line = problem, path, line
        place = f"{path}:{line}" if path and line else path or (f"line {line}" if line else "")
        super().__init__(f"{place}: {problem}" if place else problem)


class ConfigError(_FileError):
    """A configuration, limits or alias file is wrong."""


class SubmitError(_FileError):
    """A submit description is wrong."""


class DocumentError(_FileError):
    """A state document is wrong."""


class BadRequest(CloudschedError):
    """A client's parameters are wrong; `parameters` names them, `parameter` the first of them, `code` is stable.

    `v1_text` is v1's sentence for this case (PARITY 1.2), where it had one.
    """

    def __init__(
        self, problem: str, *parameters: str, parameter: str = "", code: str = "bad-parameter", v1_text: str = ""
    ) -> None:
        self.parameters = (*filter(None, (parameter,)), *parameters)
        self.parameter = next(iter(self.parameters), "")
        self.code, self.v1_text = code, v1_text
        super().__init__(problem)


class BadDefinition(CloudschedError):
    """A client's definition of a cloud is wrong; `complaints` have level, code, field and problem each."""

    def __init__(self, complaints: Sequence[Mapping[str, str]]) -> None:
        self.complaints = tuple(complaints)
        lines = [f"{each['level']}: {each['field']}: {each['problem']}" for each in complaints]
        super().__init__("\n".join(lines))


class NotFound(CloudschedError):
    """Something named by a client is not there: `kind` is cloud, vm, job, user, operation, token or url."""

    def __init__(self, kind: str, name: str, *, v1_text: str = "") -> None:
        self.kind, self.name, self.v1_text = kind, name, v1_text
        super().__init__(f"There is no {kind} {name!r}.")


class Forbidden(CloudschedError):
    """Whoever asks may not have this, and the same question again will not be answered otherwise."""


class Conflict(CloudschedError):
    """The thing is there but not in a state that allows this; `code` is stable."""

    def __init__(self, problem: str, *, code: str = "conflict", v1_text: str = "") -> None:
        self.code, self.v1_text = code, v1_text
        super().__init__(problem)


class Unconfirmed(Conflict):
    """A verb would do more, or something else, than whoever asks has confirmed; `preview` is what it would do."""

    def __init__(self, problem: str, preview: Any) -> None:
        self.preview = preview
        super().__init__(problem, code="confirmation-required")


class PictureChanged(CloudschedError):
    """Somebody asked for a change of what he had seen, and that has changed since."""


class PageExpired(CloudschedError):
    """The listing that a page token belongs to is no longer kept: its first page must be asked for again."""


class MissingExtra(CloudschedError):
    """An optional library is needed and absent."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'cloudsched[{extra}]'.")


class StateError(CloudschedError):
    """The state cannot be used as asked."""


class StateUnavailable(StateError):
    """The state is locked, full, read-only or gone; worth another try after `retry_after` seconds."""

    def __init__(self, problem: str, *, retry_after: int = 2) -> None:
        self.retry_after = retry_after
        super().__init__(problem)


class StateMismatch(StateError):
    """The schema is of another version than this program's."""


class StateHeld(StateError):
    """Another process holds the state; the text says which."""


class StateTakenOver(StateError):
    """Another engine has written its epoch: this one must stop."""


class CloudError(CloudschedError):
    """What a cloud answered, when it was not what was asked."""


class QuotaExceeded(CloudError):
    """The cloud has no room for us now."""


class Transient(CloudError):
    """The cloud failed in a way that is worth another try soon."""


class Outage(CloudError):
    """Nothing answers at the cloud's address."""


class CredentialRefused(CloudError):
    """The cloud refuses our credentials: somebody must mend them."""


class BadRequirement(CloudError):
    """This request can never work on this cloud: unknown image, flavor, network."""


class BatchError(CloudschedError):
    """The batch system does not answer or refuses."""

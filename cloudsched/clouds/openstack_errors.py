"""The one place where OpenStack's errors and faults become ours.

Nova says most of what matters in words only: 403 is a full quota or a refused credential, 500 may be anything. So the
words are looked at before the status.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from keystoneauth1 import exceptions as auth_errors
from openstack import exceptions as sdk_errors

from cloudsched.errors import BadRequirement, CloudError, CredentialRefused, Outage, QuotaExceeded, Transient

LARGEST_SENTENCE = 400

_WORDS: Sequence[tuple[re.Pattern[str], type[CloudError]]] = (
    (re.compile(r"quota|over ?limit|maximum number of (ports|instances)|too many instances", re.I), QuotaExceeded),
    (re.compile(r"policy doesn't allow|not authorized to perform", re.I), CredentialRefused),
    (re.compile(r"no valid host|insufficient compute resources|no more (ip|fixed ip) addresses", re.I), QuotaExceeded),
)
"""What a refusal (4xx) or a fault that says this means, whatever its number."""

_STATUSES: Mapping[int, type[CloudError]] = {
    400: BadRequirement,
    401: CredentialRefused,
    403: BadRequirement,
    404: BadRequirement,
    406: BadRequirement,
    408: Transient,
    409: Transient,
    413: Transient,
    429: Transient,
    502: Outage,
    503: Outage,
    504: Outage,
}

_KINDS: Sequence[tuple[tuple[type[Exception], ...], type[CloudError]]] = (
    ((auth_errors.ConnectionError, auth_errors.DiscoveryFailure, auth_errors.CatalogException), Outage),
    ((sdk_errors.EndpointNotFound, sdk_errors.NotSupported, sdk_errors.ServiceDiscoveryException), Outage),
    ((auth_errors.AuthorizationFailure, auth_errors.AuthPluginException), CredentialRefused),
    ((sdk_errors.ConfigException, sdk_errors.DuplicateResource), BadRequirement),
)
"""Errors of the libraries that no status comes with."""


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise what the OpenStack libraries raise as a CloudError whose sentence begins with `place`."""
    try:
        yield
    except (sdk_errors.SDKException, auth_errors.ClientException) as ex:
        raise _kind(ex)(_sentence(place, ex)) from ex
    except ValueError as ex:  # what answers there speaks no JSON: a proxy, a login page
        raise Outage(_sentence(place, ex)) from ex


def fault_sentence(fault: Mapping[str, Any] | None) -> str:
    """What Nova says about a server in ERROR, as one bounded line; empty where it says nothing."""
    if not fault or not fault.get("message"):
        return ""
    return _line(f"{fault['message']} (fault {fault.get('code', 'without code')})")


def _kind(ex: Exception) -> type[CloudError]:
    status = _status(ex)
    if status is None:
        return next((ours for kinds, ours in _KINDS if isinstance(ex, kinds)), Transient)
    if status < 500 and status != 401:
        worded = next((ours for words, ours in _WORDS if words.search(_text(ex))), None)
        if worded is not None:
            return worded
    return _STATUSES.get(status, BadRequirement if status < 500 else Transient)


def _status(ex: Exception) -> int | None:
    found = getattr(ex, "status_code", None) or getattr(ex, "http_status", None)
    return int(found) if found else None


def _text(ex: Exception) -> str:
    """The vendor's own words without the URL that the library adds to them."""
    details = getattr(ex, "details", None)
    return str(details or getattr(ex, "message", None) or ex or type(ex).__name__)


def _sentence(place: str, ex: Exception) -> str:
    status, request = _status(ex), getattr(ex, "request_id", None)
    marks = ", ".join(str(each) for each in (status, request) if each)
    return _line(f"{place}: {_text(ex).rstrip('. ')}{f' ({marks})' if marks else ''}.")


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LARGEST_SENTENCE else f"{line[: LARGEST_SENTENCE - 4]} ..."

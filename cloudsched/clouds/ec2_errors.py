"""What EC2 answers when it does not do what was asked, as our errors: one table of its codes."""

from __future__ import annotations

from collections.abc import Mapping

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from cloudsched.errors import BadRequirement, CloudError, CredentialRefused, Outage, QuotaExceeded, Transient

_CODES: Mapping[type[CloudError], frozenset[str]] = {
    QuotaExceeded: frozenset(
        {
            "AddressLimitExceeded",
            "InstanceLimitExceeded",
            "InsufficientAddressCapacity",
            "InsufficientCapacity",
            "InsufficientFreeAddressesInSubnet",
            "InsufficientHostCapacity",
            "InsufficientInstanceCapacity",
            "InsufficientReservedInstanceCapacity",
            "InsufficientVolumeCapacity",
            "MaxSpotInstanceCountExceeded",
            "ResourceLimitExceeded",
            "SpotMaxPriceTooLow",
            "VcpuLimitExceeded",
            "VolumeLimitExceeded",
        }
    ),
    Transient: frozenset(
        {
            "BandwidthLimitExceeded",
            "IdempotentInstanceTerminated",
            "IdempotentParameterMismatch",
            "InternalError",
            "InternalFailure",
            "RequestExpired",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "ServerInternal",
            "ServiceUnavailable",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "Unavailable",
        }
    ),
    CredentialRefused: frozenset(
        {
            "AccessDenied",
            "AccessDeniedException",
            "AuthFailure",
            "Blocked",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "MissingAuthenticationToken",
            "OptInRequired",
            "PendingVerification",
            "SignatureDoesNotMatch",
            "UnauthorizedOperation",
            "UnrecognizedClientException",
        }
    ),
}
_BY_CODE = {code: kind for kind, codes in _CODES.items() for code in codes}


def code(error: Exception) -> str:
    """EC2's code of an error; empty for what is not an answer of EC2."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def translated(cloud: str, error: BotoCoreError | ClientError | ResponseParserError) -> CloudError:
    """The error as ours, with a sentence that begins with the cloud's name."""
    if isinstance(error, ClientError):
        message = str(error.response.get("Error", {}).get("Message", "")).strip()
        return _kind(error)(f"{cloud}: {code(error)}: {message}" if message else f"{cloud}: {code(error)}.")
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)):
        return CredentialRefused(f"{cloud}: {error}")
    if isinstance(error, (ConnectionError, HTTPClientError)):
        return Outage(f"{cloud}: {error}")
    if isinstance(error, ParamValidationError):
        return BadRequirement(f"{cloud}: {' '.join(str(error).split())}")
    return Transient(f"{cloud}: {' '.join(str(error).split())[:300]}")


def _kind(error: ClientError) -> type[CloudError]:
    """By the code; else by the status: what nobody has listed and is the request's fault can never work."""
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    otherwise = Transient if status >= 500 else CredentialRefused if status in (401, 403) else BadRequirement
    return _BY_CODE.get(code(error), otherwise)

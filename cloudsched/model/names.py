"""The names under which VMs are requested: unique, fit for a host's name, and told to clouds as idempotency tokens.

VMs that are asked for together share their batch's name: a cloud that numbers the VMs of a request is given one token
for all of them, and each is found again by batch and number.
"""

from __future__ import annotations

import re
import uuid

LARGEST_BATCH = 100
_IN_BATCH = re.compile(r"(.*-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})-([0-9]{1,2})")


def unique_names(cloud: str, count: int) -> list[str]:
    """Names for VMs that are asked of a cloud together: the cloud's, a UUID4 and the number of each, from 0.

    A VM asked for alone has v1's form, without number (PARITY 6.4); other characters than a host name's become `-`.
    """
    slug = "".join(each if each.isascii() and each.isalnum() else "-" for each in cloud.lower())
    stem = slug[:40].strip("-") or "vm"
    if count == 1:
        return [f"{stem}-{uuid.uuid4()}"]
    batches = [f"{stem}-{uuid.uuid4()}" for _ in range(0, count, LARGEST_BATCH)]
    return [f"{batches[number // LARGEST_BATCH]}-{number % LARGEST_BATCH}" for number in range(count)]


def batch_of(name: str) -> tuple[str, int] | None:
    """The batch that a VM was asked for in, and its number there; None for one asked for alone."""
    found = _IN_BATCH.fullmatch(name)
    return None if found is None else (found[1], int(found[2]))


def name_in(batch: str, number: int) -> str:
    """The name of a VM of a batch."""
    return f"{batch}-{number}"

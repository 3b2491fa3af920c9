"""What is kept of a VM that ended before it was of any use."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_CONSOLE = 16 * 1024


@dataclass(frozen=True, slots=True)
class VMFailure:
    """A VM that never came up or never joined: what it was, why it ended, and the end of its console.

    `cause` is the class that boot failures are counted by: timeout, unjoined, error or lost. `failed_at` is in Unix
    seconds; `console` is at most LARGEST_CONSOLE characters, empty where the cloud keeps or gives none.
    """

    uid: str
    cloud: str
    failed_at: int
    cause: str
    reason: str
    id: str = ""
    user: str = ""
    vmtype: str = ""
    image: str = ""
    flavor: str = ""
    console: str = ""

"""What the planner says to who asks why a job waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """How a cloud stands to a job: the `reason` why it takes no VM for it, empty when it would.

    `lacks_room` tells a cloud that is full from one that is kept for others or could never take the job.
    """

    cloud: str
    reason: str = ""
    lacks_room: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of the waiting jobs that only their ids tell apart from one, which is among them.

    Of `waiting` jobs VMs that are up or starting take `served`, new ones are booted for `booted`, and the others get
    none: because of the `limit`, a sentence, or because of what `clouds` say. `vms` are those of the job's user and
    VMType, `user_vms` those of the user.
    """

    waiting: int
    served: int
    booted: int
    limit: str
    clouds: tuple[Standing, ...]
    vms: int
    user_vms: int

    @property
    def left(self) -> int:
        """The jobs that get no VM."""
        return self.waiting - self.served - self.booted

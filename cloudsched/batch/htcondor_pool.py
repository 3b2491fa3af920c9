"""What is asked of an HTCondor pool, however it is reached: by the bindings or by command lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cloudsched.batch.htcondor_ads import Ad


class HTCondorPool(Protocol):
    """How a pool is asked; every method may raise BatchError with a sentence that says what to change."""

    def jobs(self, each: Callable[[Ad], None], constraint: str = "true") -> None:
        """Give `each` the ad of every job that meets a ClassAd constraint."""

    def size(self) -> tuple[int, int] | None:
        """How many jobs there are and the schedd's clock; None where only the whole queue can be read."""

    def history(self, each: Callable[[Ad], None], constraint: str, since: str) -> None:
        """Jobs that left the queue, newest first, until one meets the constraint `since`."""

    def submit(self, sections: Sequence[str], initialdir: str, owner: str, token: str) -> tuple[int, int]:
        """Submit for an owner, marked with the token; returns (first cluster, jobs)."""

    def act(self, action: str, jobs: Sequence[str], reason: str) -> None:
        """Hold, release or remove jobs given as CLUSTER.PROC."""

    def slots(self) -> list[Ad]:
        """Every slot in the collector."""

    def started_at(self) -> int | None:
        """When the collector was started, by its clock; None where that is not known."""

    def masters(self) -> list[Ad]:
        """Every master in the collector."""

    def drain(self, slot: Ad, master: Ad | None, reason: str, token: str) -> None:
        """Let a slot's startd finish its jobs, take no new ones, and exit; `master` is that machine's, if known."""

    def undrain(self, slot: Ad, token: str) -> None:
        """Let a slot's startd, which drains, take jobs again."""

    def stop_master(self, master: Ad, token: str) -> None:
        """Let a master whose startd has ended end too."""

    def start_startd(self, master: Ad, token: str) -> None:
        """Let a master start its startd, which has ended, again."""

    def invalidate(self, constraint: str) -> None:
        """Have the collector forget the startds and masters that meet a constraint."""

    def allowed(self, token: str) -> tuple[str, str] | None:
        """What the collector lets the bearer of a token do (ADVERTISE_STARTD, else READ, else nothing), and as whom.

        None where nobody can tell.
        """

    def settings(self) -> Mapping[str, str]:
        """HTCondor's own COLLECTOR_HOST and TRUST_DOMAIN, as far as they are known here."""

    def close(self) -> None:
        """End what was started for asking."""

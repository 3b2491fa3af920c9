"""What to do next, decided from a snapshot alone: no clock, no I/O, no randomness, no log (DESIGN 1, PARITY 6).

`plan` is the whole of it. Its stages, in order:

    wishes         what operators and users asked for; nothing later contradicts it
    requests       what was asked of a cloud for a time that is over; whether it is as it was asked to be
    connection     clouds that do not answer are disabled, later tried again
    registration   what the batch system's slots tell about VMs
    retirement     VMs that failed or finished, quota cuts, removed clouds, idle VMs
    supply         which waiting jobs the present VMs will take
    boots          VMs for the others: fair share or fifo; a cloud in trouble is tried with one
    balance        room for users below their share
    schedule       what jobs are told

The engine turns a Boot into a call and a record with `request.boot_request` and `request.vm_record`.
"""

from __future__ import annotations

from cloudsched.config.options import Global, JobDefaults
from cloudsched.model.actions import Plan
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy.outlook import look


def plan(snapshot: Snapshot, settings: Global, defaults: JobDefaults) -> Plan:
    """The actions that bring the world closer to what is wanted; the same snapshot gives the same plan.

    Applied in order, each leaves a state from which the next cycle would go on in the same way, so a plan may be
    cut off anywhere. Nothing on account of jobs before the queue has been read (`jobs_known`), nothing on account
    of machines before they have been (`machines_known`): PARITY 9.2.
    """
    return look(snapshot, settings, defaults).plan

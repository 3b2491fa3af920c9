"""Why a job waits: how many jobs like it there are, what becomes of them, and how each cloud stands to the rest."""

from __future__ import annotations

from cloudsched.model.explanations import Explanation
from cloudsched.model.jobs import WAITING, Job
from cloudsched.policy.outlook import Placement
from cloudsched.policy.schedule import against
from cloudsched.policy.supply import Demand


def explain(job: Job, placement: Placement) -> Explanation:
    """What stands for and against one waiting job, found in the placement of a plan."""
    shape, ledger = job.shape, placement.allocation.ledger
    demand = Demand(shape.key, shape, job.priority, job.blocked_clouds, 1)
    waiting = sum(
        group.jobs
        for group in placement.snapshot.groups
        if (group.shape, group.priority) == (shape.key, job.priority)
        and group.job_status in WAITING
        and not group.banned
    )
    same = [each for each in placement.allocation.unserved if (each.key, each.priority) == (shape.key, job.priority)]
    served = min(waiting, placement.supply.served.get((shape.key, job.priority), 0))
    booted = max(0, waiting - served - sum(each.jobs for each in same))
    held = [vm for vm in placement.snapshot.vms if vm.user == shape.user and not vm.retired]
    return Explanation(
        waiting,
        served,
        booted,
        limit=ledger.barred(demand),
        clouds=tuple(against(placement.allocation, demand)),
        vms=sum(vm.uservmtype == shape.uservmtype for vm in held),
        user_vms=len(held),
    )

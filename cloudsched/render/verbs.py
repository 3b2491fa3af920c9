"""v1's answers to operators' verbs, spelling mistakes included (PARITY 1.2 and its Decisions).

Each is a template for `say`; clouds, VMs and counts are echoed as the client typed them. An empty answer is `""`.
Whether a sentence stands for success or failure, and its status code, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cloudsched.render.cells import cell

# A4, A5
ENABLED = "Cloud: {cloud} enabled."
DISABLED = "Cloud: {cloud} disabled."
ENABLE_NO_CLOUD = "Could not find cloud {cloud}."

# A6
ALLOCATED = "Attempt adjustment on cloud {cloud}, change to {slots} slots"
ALLOCATED_ALREADY = "VM slots already set at {slots}. Nothing to do."
ALLOCATE_NO_NUMBER = "Need to use an integer value for vm_allocation"
ALLOCATE_NO_CLOUD = "Unable to find cluster with name: {cloud}"

# A7, A12
REMOVED_ALL = "Removed all VMs from {cloud}."
REMOVED = "Removed {cloud}'s VM {vm} from CloudScheduler."
REMOVED_RETIRED = "Removed {cloud}'s VM {vm} from CloudScheduler retired resources."
REMOVE_NO_VM = "Could not find VM ID: {vm} on Cloud: {cloud}"
REMOVE_NO_CLOUD = "Could not find Cloud {cloud}."

# A8, A9, A14; a bulk shutdown answers one DESTROYED or NOT_DESTROYED line a VM, each ended by a newline
DESTROYED = "VM {vm} has been Destroyed."
NOT_DESTROYED = "Destroying VM {vm} failed. Leaving it for now."
SHUTDOWN_NO_VM = "Could not find VM with ID: {vm} on Cluster: {cloud}."
SHUTDOWN_NO_CLOUD = "Could not find a Cluster with name: {cloud}."
SHUTDOWN_COUNT_NO_NUMBER = "Unable to shutdown {count} VMs, use a number."
SHUTDOWN_COUNT_NO_CLOUD = "Could not find cloud named: {cloud}"

# A10, A11, A15
RETIRED_ALL = "Retired all VMs in {cloud}."
RETIRED_COUNT = "Retired {count} VM(s) in {cloud}."
RETIRED = "Retired VM {vm} on {cloud}."
NOT_RETIRED = "Unable to retire VM."
RETIRE_NO_VM = "Could not find VM ID {vm}."
RETIRE_NO_CLOUD = "Could not find Cloud {cloud}."
RETIRE_MANY_NO_CLOUD = "Cloud not find Cloud {cloud}."
RETIRE_COUNT_NO_NUMBER = "Unable to retire {count} VMs, use a number"

# A13
RESET = "Reset state of {cloud} on {vm}"
RESET_NO_VM = "Could not find VM ID {vm}."
RESET_NO_CLOUD = "Could not find Cloud {cloud}."

# ours
DEFINED = {
    "create": "Cloud: {cloud} created.",
    "replace": "Cloud: {cloud} replaced.",
    "change": "Cloud: {cloud} changed.",
}
DEFINED_ALREADY = "Cloud: {cloud} is defined so already. Nothing to do."
DELETED = "Cloud: {cloud} deleted."
ACCEPTED = "Accepted, see /operations/{operation}."
UNDONE = "Operation {operation} is undone for {targets} target(s), by operation {undo}."
SUBMITTED = "{jobs} job(s) submitted to cluster {cluster}."


def say(template: str, **values: object) -> str:
    """A template with its values filled in; control characters in a value become `?`."""
    return template.format(**{name: cell(value) for name, value in values.items()})


def defined(cloud: str, verb: str, warnings: Iterable[Mapping[str, str]]) -> str:
    """That a cloud is defined as asked, and a line for each thing to beware of."""
    lines = [f"{each['level']}: {each['field']}: {each['problem']}" for each in warnings]
    return "\n".join([say(DEFINED[verb], cloud=cloud), *map(cell, lines)])


def destroyed_lines(outcomes: Sequence[tuple[str, bool]]) -> str:
    """One line per (VM id, whether it was destroyed), the answer to a bulk shutdown (PARITY 1.2, A8)."""
    return "".join(f"{say(DESTROYED if done else NOT_DESTROYED, vm=vm)}\n" for vm, done in outcomes)


def reloaded(entries: int) -> str:
    """`True` if a reload left at least one limit or alias, else `False` (PARITY 1.2, A19 and A21)."""
    return str(entries > 0)


def python2_mapping(mapping: Mapping[str, int | Sequence[str]]) -> str:
    """Limits or aliases as Python 2 wrote a dict, which v1's listings show (PARITY 1.2, A18 and A20)."""
    return "{" + ", ".join(f"{_python2(name)}: {_python2_value(value)}" for name, value in mapping.items()) + "}"


def _python2(text: str) -> str:
    return f"u{text!a}"


def _python2_value(value: int | Sequence[str]) -> str:
    return str(value) if isinstance(value, int) else "[" + ", ".join(_python2(each) for each in value) + "]"

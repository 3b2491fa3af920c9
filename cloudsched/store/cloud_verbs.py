"""The verbs that make, change and delete clouds: what they find, what they refuse, what they change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, func, select

from cloudsched.config.cloud_kinds import CLOUD_OPTIONS
from cloudsched.config.definitions import Draft, shown
from cloudsched.errors import Conflict, NotFound, PictureChanged
from cloudsched.model.allowance import beyond
from cloudsched.model.clouds import Cloud, Origin
from cloudsched.model.vms import is_leaving
from cloudsched.model.wishes import Aspect, Operation
from cloudsched.store import clouds, definitions, operations, tables, vms, wishes
from cloudsched.store.connect import Store, Writing
from cloudsched.store.definitions import Definition
from cloudsched.store.wishes import By, Want

Decide = Callable[[Draft | None], Draft]
"""Makes of a definition, None where there is none, what it shall be. Raises BadDefinition."""


@dataclass(frozen=True, slots=True)
class Present:
    """What there is of a cloud: its row once the engine has recorded it, its definition if it was made by API."""

    cloud: Cloud | None
    definition: Definition | None
    vms: int


def wish_put(store: Store, by: By, name: str, decide: Decide, *, only_new: bool = False) -> Operation:
    """Ask that a cloud be as defined: `create` or `replace`. With `only_new` none is replaced.

    Raises BadDefinition; PictureChanged where `only_new` finds one; Conflict `in-file` for a cloud of the file,
    `draining` for one that is being deleted, `kind-in-use` where its VMs are of another kind, `unchanged`.
    """
    with store.writing() as writing:
        present = _present(writing.connection, name)
        if only_new and (present.cloud or present.definition):
            raise PictureChanged(f"There is a cloud {name!r} already.")
        _refuse_files(present, name)
        if present.definition is not None and present.definition.leaving is not None:
            raise Conflict(f"Cloud {name!r} is being deleted: wait until it is gone.", code="draining")
        return _define(writing, by, ("create" if present.definition is None else "replace", name), present, decide)


def wish_patch(store: Store, by: By, name: str, decide: Decide) -> Operation:
    """Ask that parts of a definition change, also while it is being deleted. Raises NotFound; else as `wish_put`."""
    with store.writing() as writing:
        present = _found(writing.connection, name)
        return _define(writing, by, ("change", name), present, decide)


def wish_delete(store: Store, by: By, name: str) -> Operation:
    """Ask that a cloud drain and go. Who asks again gets the same operation. Raises NotFound, Conflict `in-file`."""
    with store.writing() as writing:
        present = _found(writing.connection, name)
        if present.definition is not None and present.definition.leaving is not None:
            if by.terms.dry_run:
                return wishes.record(writing, by, "delete", [])
            return operations.find(writing.connection, present.definition.leaving.operation)
        going = tuple(vm.uid for vm in vms.of_cloud(writing.connection, name) if not is_leaving(vm))
        want = Want("cloud", name, Aspect.DELETE, cloud=name, drains=going)
        want = replace(want, before={"removed": False, "vms": present.vms}, after={"removed": True, "vms": 0})
        return wishes.record(writing, by, "delete", [want])


def forget_secrets(store: Store) -> None:
    """Forget the credentials of clouds that are gone."""
    with store.writing() as writing:
        definitions.forget_secrets(writing)


def _present(connection: Connection, name: str) -> Present:
    try:
        cloud = clouds.find(connection, name)
    except NotFound:
        cloud = None
    count = select(func.count()).select_from(tables.vms).where(tables.vms.c.cloud == name)
    return Present(cloud, definitions.find(connection, name), connection.execute(count).scalar_one())


def _found(connection: Connection, name: str) -> Present:
    """What there is of a cloud made by API. Raises NotFound, Conflict."""
    present = _present(connection, name)
    _refuse_files(present, name)
    if present.definition is None:
        raise NotFound("cloud", name)
    return present


def _refuse_files(present: Present, name: str) -> None:
    if present.cloud is None or present.cloud.origin is Origin.API or present.definition is not None:
        return
    if present.cloud.removed:
        raise Conflict(
            f"Cloud {name!r} was in cloud_resources.conf and drains: wait until it is gone.", code="draining"
        )
    problem = f"Cloud {name!r} is in cloud_resources.conf: change it there and have the file read again (reconfig)."
    raise Conflict(problem, code="in-file")


def _define(writing: Writing, by: By, verb: tuple[str, str], present: Present, decide: Decide) -> Operation:
    before = present.definition.draft if present.definition else None
    draft = decide(before)
    word, name = verb
    _refuse_another_kind(present, draft)
    want = Want("cloud", name, Aspect.DEFINE, definitions.value_of(draft), cloud=name)
    want = replace(want, **_changes(present, before, draft), drains=_drains(writing, present, draft))
    if present.definition is not None and present.definition.whole and not want.before and not want.after:
        if by.terms.dry_run:
            return wishes.record(writing, by, word, [])
        raise Conflict(f"Cloud {name!r} is defined so already.", code="unchanged")
    operation = wishes.record(writing, by, word, [want])
    definitions.supersede(writing, name, _replaced(present, draft), operation.targets[0].wish.id)
    definitions.forget_secrets(writing)
    return operation


def _refuse_another_kind(present: Present, draft: Draft) -> None:
    if present.definition is None or not present.vms:
        return
    was, will = (each.options.get("cloud_type", "") for each in (present.definition.draft, draft))
    if was.lower() != will.lower():
        problem = f"Cloud {present.definition.name!r} has {present.vms} VMs of the kind {was}: let them end first."
        raise Conflict(problem, code="kind-in-use")


def _changes(present: Present, before: Draft | None, after: Draft) -> dict[str, Any]:
    """The options that differ, as `before` and `after`, secrets masked; quota and switch as they are in force."""
    was, will = shown(before) if before else {}, shown(after)
    if after.enabled is not None:
        will["enabled"] = str(after.enabled).lower()
    if present.cloud is not None and before is not None:
        in_force = {"vm_slots": str(present.cloud.vm_slots), "enabled": str(present.cloud.enabled).lower()}
        was |= {option: text for option, text in in_force.items() if option in after.given}
    hidden = {option for option, text in after.secrets.items() if before and before.secrets.get(option) != text}
    names = sorted(each for each in was.keys() | will.keys() if was.get(each) != will.get(each) or each in hidden)
    return {
        "before": {option: was[option] for option in names if option in was},
        "after": {option: will[option] for option in names if option in will},
    }


def _drains(writing: Writing, present: Present, draft: Draft) -> tuple[str, ...]:
    """The VMs for which the cloud has no room any more, which will end once their jobs have."""
    if present.cloud is None:
        return ()
    named = _ALLOWANCE.keys() & draft.given & draft.options.keys()
    fields: Any = {_ALLOWANCE[option]: CLOUD_OPTIONS[option].read(draft.options[option]) for option in named}
    there = vms.of_cloud(writing.connection, present.cloud.name)
    return tuple(vm.uid for vm in beyond(replace(present.cloud, **fields), there))


_ALLOWANCE = {"vm_slots": "vm_slots", "memory": "memory_mb", "storage": "storage_gb"}


def _replaced(present: Present, draft: Draft) -> list[Aspect]:
    """The aspects of which earlier wishes count no more: all for a new cloud, else those that the document names."""
    if present.definition is None:
        return [Aspect.ENABLED, Aspect.VM_SLOTS, Aspect.DELETE]
    named = {"enabled": Aspect.ENABLED, "vm_slots": Aspect.VM_SLOTS}
    return [aspect for option, aspect in named.items() if option in draft.given]

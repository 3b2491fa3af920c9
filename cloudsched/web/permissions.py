"""Who may do what: one row for every method of every URL of both daemons, and the middleware that holds to it.

A row says which role a request takes and what it concerns, which is what the limits of a token are held against.
Every limit must be met: a token limited to clouds and users may do only what concerns one of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from falcon import Request, Response

from cloudsched.errors import Forbidden, NotFound
from cloudsched.model.access import Caller, Role
from cloudsched.model.wishes import Operation
from cloudsched.store import Store, clouds, jobs, operations, vms
from cloudsched.web import contract

T = TypeVar("T")


class Scope(StrEnum):
    """What a request concerns; the words complete "This concerns ..."."""

    NOTHING = "nothing in particular"
    FLEET = "the whole fleet"
    CLOUD = "a whole cloud"
    VM = "a VM"
    USER = "a user on every cloud"
    JOB = "a job, which any cloud may run"
    OPERATION = "what somebody asked for"


@dataclass(frozen=True, slots=True)
class Permit:
    """The `role` a request takes, None where everybody may ask, and what it concerns."""

    role: Role | None
    scope: Scope = Scope.FLEET


def _rows(role: Role | None, scope: Scope, *requests: str) -> dict[str, Permit]:
    return dict.fromkeys(requests, Permit(role, scope))


PERMITS: Mapping[str, Permit] = {
    # Both daemons; a URL with `.json` appended takes what the URL takes.
    **_rows(None, Scope.NOTHING, "GET /health/live", "GET /health/ready"),
    **_rows(None, Scope.NOTHING, *(f"GET {url.removesuffix('.json')}" for url in contract.OPEN)),
    **_rows(Role.READER, Scope.FLEET, "GET /metrics/process"),
    **_rows(Role.READER, Scope.FLEET, "GET /operations"),
    **_rows(Role.READER, Scope.OPERATION, "GET /operations/{operation}"),
    **_rows(Role.READER, Scope.FLEET, "GET /journal", "GET /journal/{entry}"),
    **_rows(Role.READER, Scope.CLOUD, "GET /clouds/{cloud}/journal"),
    **_rows(Role.READER, Scope.VM, "GET /clouds/{cloud}/vms/{vm}/journal"),
    **_rows(Role.READER, Scope.USER, "GET /users/{user}/journal"),
    **_rows(Role.READER, Scope.JOB, "GET /jobs/{job}/journal"),
    # Info: whole documents, which tell about every cloud and user.
    **_rows(
        Role.READER,
        Scope.FLEET,
        "GET /",
        "GET /cloud",
        "GET /cloud/config",
        "GET /cloud/health",
        "GET /clusters",
        "GET /vms",
        "GET /vms/resources",
        "GET /jobs",
        "GET /job-pool",
        "GET /job_pools",
        "GET /failures",
        "GET /failures/boot",
        "GET /failures/image",
        "GET /failures/vms",
        "GET /ips",
        "GET /diff-types",
        "GET /thread-heart-beats",
        "GET /shared-objs",
        "GET /developer-info",
        "GET /developer_info",
        "GET /metrics",
    ),
    **_rows(Role.READER, Scope.CLOUD, "GET /clusters/{cloud}", "GET /clusters/{cloud}/vms"),
    **_rows(Role.READER, Scope.VM, "GET /clusters/{cloud}/vms/{vm}"),
    **_rows(Role.READER, Scope.JOB, "GET /jobs/{job}", "GET /jobs/{job}/explain"),
    # Admin: what is in force.
    **_rows(Role.READER, Scope.FLEET, "GET /settings", "GET /user-limits", "GET /cloud-aliases"),
    # Admin: the daily work on clouds, VMs and jobs.
    # Who makes clouds says where VMs, jobs and credentials go: `may_define_clouds` has the rest of the rule.
    **_rows(Role.OPERATOR, Scope.CLOUD, "PUT /clouds/{cloud}"),
    **_rows(Role.ADMIN, Scope.FLEET, "PATCH /clouds/{cloud}", "DELETE /clouds/{cloud}"),
    **_rows(
        Role.OPERATOR,
        Scope.CLOUD,
        "PUT /clouds/{cloud}/vms",
        "POST /clouds/{cloud}/vms",
        "DELETE /clouds/{cloud}/vms",
    ),
    **_rows(
        Role.OPERATOR,
        Scope.VM,
        "PUT /clouds/{cloud}/vms/{vm}",
        "POST /clouds/{cloud}/vms/{vm}",
        "DELETE /clouds/{cloud}/vms/{vm}",
    ),
    **_rows(Role.OPERATOR, Scope.JOB, "PUT /jobs/{job}", "DELETE /jobs/{job}"),
    **_rows(Role.OPERATOR, Scope.USER, "POST /users/{user}"),
    # Who submits runs commands as the owner: `may_submit_for` has the rest of the rule.
    **_rows(Role.OPERATOR, Scope.NOTHING, "POST /jobs"),
    # What concerned the scheduler itself takes more: `may_undo` has the rest of the rule.
    **_rows(Role.OPERATOR, Scope.OPERATION, "POST /operations/{operation}/undo"),
    # Admin: the scheduler itself.
    **_rows(
        Role.ADMIN,
        Scope.FLEET,
        "PUT /",
        "POST /",
        "PUT /settings",
        "POST /user-limits",
        "POST /cloud-aliases",
        "GET /tokens",
        "POST /tokens",
        "GET /tokens/{token}",
        "DELETE /tokens/{token}",
    ),
}


def permit_of(method: str, template: str, rows: Mapping[str, Permit] = PERMITS) -> Permit | None:
    """The row of a method of a URL template; HEAD takes what GET takes."""
    method = "GET" if method == "HEAD" else method
    return rows.get(f"{method} {template.removesuffix('.json')}")


class Permissions:
    """Middleware: refuses, once a request is routed, what the caller's role or limits do not cover."""

    def __init__(self, store: Store, rows: Mapping[str, Permit] = PERMITS) -> None:
        self._store, self._rows = store, rows

    def check(self, routes: Mapping[str, object]) -> None:
        """Raise LookupError for a method of a resource that has no row: it must not be served by accident."""
        for template, resource in routes.items():
            for name in dir(resource):
                method = name.removeprefix("on_").upper()
                if name.startswith("on_") and permit_of(method, template, self._rows) is None:
                    raise LookupError(f"{method} {template} has no row in web/permissions.py")

    def process_resource(self, req: Request, resp: Response, resource: object, params: Mapping[str, str]) -> None:
        """Raise Forbidden with the reason; methods that a resource lacks are the router's to refuse."""
        permit = permit_of(req.method, req.uri_template or "", self._rows)
        if permit is None or permit.role is None:
            return
        caller: Caller = req.context.caller
        if caller.role is None or not caller.role.covers(permit.role):
            raise Forbidden(f"This takes the role {permit.role}; yours is {caller.role or 'none'}.")
        if caller.is_limited:
            _LIMITS[permit.scope](_Asked(self._store, caller, params, req.method in ("GET", "HEAD")))


def may_submit_for(caller: Caller, owner: str) -> None:
    """Raise Forbidden unless this caller may submit jobs that run as `owner`.

    A job is a command: as the scheduler's own account it could read every token. So it takes the role admin, or a
    token that names the owner and is not limited to clouds.
    """
    if caller.role is not None and caller.role.covers(Role.ADMIN):
        return
    _unlimited_clouds(caller, Scope.JOB)
    if owner not in caller.users:
        raise Forbidden(f"Submitting as {owner!r} takes the role admin, or a token that is limited to users with them.")


def may_undo(caller: Caller, operation: Operation) -> None:
    """Raise Forbidden unless this caller may ask for the opposite of an operation, which takes what that took."""
    is_about_scheduler = any(target.wish.kind == "scheduler" for target in operation.targets)
    if is_about_scheduler and (caller.role is None or not caller.role.covers(Role.ADMIN)):
        raise Forbidden(f"Undoing what concerns the scheduler takes the role {Role.ADMIN}; yours is {caller.role}.")


def may_define_clouds(caller: Caller) -> None:
    """Raise Forbidden unless this caller may PUT a definition, and not only v1's verbs on a cloud."""
    if caller.role is None or not caller.role.covers(Role.ADMIN):
        raise Forbidden(f"To define a cloud takes the role {Role.ADMIN}; yours is {caller.role or 'none'}.")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request by a limited caller: the fields of its URL, and whether it only reads."""

    store: Store
    caller: Caller
    params: Mapping[str, str]
    reads: bool

    def named(self, field: str, find: Callable[[str], T]) -> T | None:
        """What a field of the URL means: on pages a name that exists wins over the form `.json` (DESIGN 6)."""
        name = self.params[field]
        for each in dict.fromkeys((name, name.removesuffix(".json") if self.reads else name)):
            try:
                return find(each)
            except NotFound:
                continue
        return None


def _refuse(asked: _Asked) -> None:
    raise _beyond(asked.caller, Scope.FLEET)


def _on_cloud(asked: _Asked) -> None:
    if asked.caller.users:
        raise _beyond(asked.caller, Scope.CLOUD)
    _allowed_cloud(asked)


def _on_vm(asked: _Asked) -> None:
    cloud = _allowed_cloud(asked)
    if asked.caller.users:
        names = dict.fromkeys((asked.params["vm"], asked.params["vm"].removesuffix(".json")))
        with asked.store.reading() as connection:
            found = {user for name in names for user in vms.users_of(connection, cloud, name)}
        _allowed_users(asked.caller, found)


def _on_job(asked: _Asked) -> None:
    _unlimited_clouds(asked.caller, Scope.JOB)
    with asked.store.reading() as connection:
        job = asked.named("job", lambda name: jobs.find(connection, name))
    _allowed_users(asked.caller, {job.shape.user} if job else set())


def _on_user(asked: _Asked) -> None:
    _unlimited_clouds(asked.caller, Scope.USER)
    _allowed_users(asked.caller, {asked.params["user"]})


def _on_operation(asked: _Asked) -> None:
    """An operation is about any target, so it is there for the token that asked for it alone."""
    number = asked.params["operation"].removesuffix(".json")
    if number.isascii() and number.isdecimal() and len(number) <= 18:
        actor = operations.actor(asked.store, int(number))
        if actor is not None and actor.partition("@")[0] != asked.caller.name:
            raise Forbidden("Your token is limited: it reaches only what was asked for with it.")


def _allowed_cloud(asked: _Asked) -> str:
    """The cloud that the URL means, where the caller may have it."""
    with asked.store.reading() as connection:
        found = asked.named("cloud", lambda name: clouds.find(connection, name).name) or asked.params["cloud"].lower()
    if asked.caller.clouds and found not in asked.caller.clouds:
        raise _beyond(asked.caller, "another cloud")
    return found


def _allowed_users(caller: Caller, users: Set[str]) -> None:
    if caller.users and not users <= set(caller.users):
        raise _beyond(caller, "another user")


def _unlimited_clouds(caller: Caller, scope: Scope) -> None:
    if caller.clouds:
        raise _beyond(caller, scope)


def _beyond(caller: Caller, what: str) -> Forbidden:
    limits = [
        f"{kind} {', '.join(names)}" for kind, names in (("clouds", caller.clouds), ("users", caller.users)) if names
    ]
    return Forbidden(f"This concerns {what}; your token is limited to {' and '.join(limits)}.")


_LIMITS: Mapping[Scope, Callable[[_Asked], None]] = {
    Scope.NOTHING: lambda asked: None,
    Scope.FLEET: _refuse,
    Scope.CLOUD: _on_cloud,
    Scope.VM: _on_vm,
    Scope.USER: _on_user,
    Scope.JOB: _on_job,
    Scope.OPERATION: _on_operation,
}

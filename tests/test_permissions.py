"""Every method of every URL of both daemons, against every kind of caller that must be refused."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import golden_state
import pytest
from contract import contract
from wsgi import Client

from cloudsched import admin, info, openapi
from cloudsched.config import Config, Global
from cloudsched.model.access import Role
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.store import Store, clouds, jobs, tokens, vms
from cloudsched.store.tokens import Grant
from cloudsched.web.app import WSGIApp
from cloudsched.web.permissions import PERMITS, Permit, Scope, permit_of
from cloudsched.web.token_file import read_token


class Pair:
    """Both daemons over the recorded fleet, wanting tokens, and what of it the requests name."""

    def __init__(self, store: Store, directory: Path) -> None:
        self.store = store
        golden_state.load(store, int(time.time()))
        settings = Global(state_dir=directory, info_auth="token", verb_wait_seconds=0, wait_seats=0)
        self.apps: dict[str, WSGIApp] = {
            "admin": admin.create_app(store, Config(settings)),
            "info": info.create_app(store, Config(settings)),
        }
        self.first = read_token(settings.admin_token_file)
        with store.reading() as connection:
            vm, job = vms.all_vms(connection)[0], jobs.all_jobs(connection)[0]
        self.cloud, self.user, self.job_user = vm.cloud, vm.user, job.shape.user
        self.names = {"cloud": vm.cloud, "vm": vm.id, "job": job.id, "user": vm.user, "operation": "1", "token": "none"}
        ask(self, "admin", "PUT /settings", self.first, {"log_level": "INFO"})

    def token(self, role: Role, **options: Any) -> str:
        """The text of a new token."""
        return tokens.make(
            self.store, Grant(role, **options), Entry(EntryKind.ASKED, "token_create", int(time.time()), "test")
        )[0]


@pytest.fixture
def pair(store: Store, state_dir: Path) -> Pair:
    return Pair(store, state_dir)


FORMS = {"POST /jobs": {"submit": "executable = /bin/true\nqueue", "initialdir": "/tmp", "owner": "someone"}}
"""What a request must carry to come as far as the last question of who may."""


def ask(pair: Pair, daemon: str, request: str, token: str, form: dict[str, str] | None = None) -> Any:
    """The answer to `METHOD TEMPLATE`, whose URL names what is there."""
    method, template = request.split()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = template.format_map(defaultdict(lambda: "1", pair.names))
    body = {"POST": form or FORMS.get(request, {})} if method in ("PUT", "POST") else {}
    # Each comes from an address of its own: after ten wrong tokens one is told to wait.
    number = next(_addresses)
    address = f"10.0.{number // 250 % 250}.{number % 250}"
    return Client(pair.apps[daemon], {"REMOTE_ADDR": address}).request(url, method=method, headers=headers, **body)


OPERATIONS = [
    (daemon, method.upper(), path, operation["x-permission"])
    for daemon in openapi.DAEMONS
    for method, path, operation in contract(daemon).operations()
]
"""Everything that the contract has, which is everything that is routed (test_contract.py), and who may ask for it."""

SERVED: list[tuple[str, str, Permit]] = [
    (daemon, f"{method} {path}", PERMITS[f"{'GET' if method == 'HEAD' else method} {path.removesuffix('.json')}"])
    for daemon, written, path, _ in OPERATIONS
    for method in ((written, "HEAD") if written == "GET" else (written,))
]
"""Every request that either daemon takes, with its row: daemon, `METHOD TEMPLATE`, permit."""

_addresses = itertools.count(1)


def guarded() -> list[tuple[str, str, Permit]]:
    """The requests that are not for everybody, both daemons' among them."""
    found = [each for each in SERVED if each[2].role is not None]
    assert {daemon for daemon, _, _ in found} == {"admin", "info"}
    return found


def statuses(pair: Pair, token: str) -> dict[str, int]:
    """What a token is answered on every guarded request."""
    return {f"{daemon} {request}": ask(pair, daemon, request, token).status_int for daemon, request, _ in guarded()}


def test_every_row_is_served_and_every_request_has_a_row() -> None:
    found = {f"{request.replace('HEAD ', 'GET ').removesuffix('.json')}" for _, request, _ in SERVED}
    assert found == set(PERMITS)


@pytest.mark.parametrize(("daemon", "method", "path", "written"), OPERATIONS)
def test_contract_says_who_may_ask(daemon: str, method: str, path: str, written: dict[str, Any]) -> None:
    permit = permit_of(method, path)
    assert permit is not None
    assert written == {"role": permit.role, "concerns": permit.scope.name.lower()}


@pytest.mark.parametrize("why", ["none", "wrong", "expired", "revoked", "another scheme"])
def test_nobody_is_let_in_without_a_token_that_holds(pair: Pair, why: str) -> None:
    now = int(time.time())
    bad = {"none": "", "wrong": "wrong", "expired": pair.token(Role.ADMIN, expires_at=now - 1)}
    bad |= {"revoked": pair.token(Role.ADMIN), "another scheme": f"x, Basic {pair.first}"}
    tokens.revoke(pair.store, tokens.id_of(bad["revoked"]), Entry(EntryKind.ASKED, "token_revoke", now))
    assert {request: status for request, status in statuses(pair, bad[why]).items() if status != 401} == {}


def test_weaker_role_is_refused(pair: Pair) -> None:
    weaker = {Role.OPERATOR: pair.token(Role.READER), Role.ADMIN: pair.token(Role.OPERATOR)}
    asked = [each for each in guarded() if each[2].role in weaker]
    assert {permit.role for _, _, permit in asked} == weaker.keys()
    for daemon, request, permit in asked:
        assert permit.role is not None
        answer = ask(pair, daemon, request, weaker[permit.role])
        assert answer.status_int == 403, (daemon, request)
        assert request.startswith("HEAD") or f"takes the role {permit.role}" in answer.text


def test_sufficient_role_is_not_refused(pair: Pair) -> None:
    strong = {role: pair.token(role) for role in Role}
    for daemon, request, permit in guarded():
        assert permit.role is not None
        # These have a rule beyond the row, and tests of their own.
        if request not in ("POST /jobs", "POST /operations/{operation}/undo"):
            assert ask(pair, daemon, request, strong[permit.role]).status_int not in (401, 403), (daemon, request)


@pytest.mark.parametrize("limits", [{"clouds": ("another",)}, {"users": ("nobody",)}])
def test_token_for_another_cloud_or_user_is_refused_everywhere(pair: Pair, limits: dict[str, Any]) -> None:
    with pair.store.reading() as connection:
        other = next(each.name for each in clouds.all_clouds(connection) if each.name != pair.cloud)
    limits = {name: (other,) if name == "clouds" else names for name, names in limits.items()}
    found = statuses(pair, pair.token(Role.OPERATOR, **limits))
    assert {request: status for request, status in found.items() if status != 403} == {}


def limited(pair: Pair, **limits: tuple[str, ...]) -> set[str]:
    """The requests that an operator with these limits is not refused."""
    found = statuses(pair, pair.token(Role.OPERATOR, **limits))
    return {request for request, status in found.items() if status not in (401, 403)}


def test_token_for_a_cloud_reaches_what_concerns_that_cloud_alone(pair: Pair) -> None:
    scopes = (Scope.CLOUD, Scope.VM)
    expected = {f"{daemon} {request}" for daemon, request, permit in guarded() if permit.scope in scopes}
    assert limited(pair, clouds=(pair.cloud,)) == expected


def test_token_for_users_reaches_what_is_theirs_alone(pair: Pair) -> None:
    scopes = (Scope.VM, Scope.JOB, Scope.USER)
    expected = {f"{daemon} {request}" for daemon, request, permit in guarded() if permit.scope in scopes}
    assert limited(pair, users=(pair.user, pair.job_user)) == expected


def test_every_limit_of_a_token_must_be_met(pair: Pair) -> None:
    both = limited(pair, clouds=(pair.cloud,), users=(pair.user, pair.job_user))
    assert both == {f"{daemon} {request}" for daemon, request, permit in guarded() if permit.scope is Scope.VM}
    assert limited(pair, clouds=(pair.cloud,), users=("nobody",)) == set()


def test_name_that_ends_in_json_is_held_to_the_cloud_it_means(pair: Pair) -> None:
    token = pair.token(Role.OPERATOR, clouds=(pair.cloud,))
    pair.names["cloud"] = f"{pair.cloud.upper()}.json"
    assert ask(pair, "info", "GET /clusters/{cloud}", token).status_int == 200
    named = replace(golden_state.golden().clouds[0], name=f"{pair.cloud}.json", position=99)
    with pair.store.writing() as writing:
        clouds.record_clouds(writing, [*golden_state.golden().clouds, named])
    assert ask(pair, "info", "GET /clusters/{cloud}", token).status_int == 403
    assert ask(pair, "admin", "PUT /clouds/{cloud}", token, {"action": "enable"}).status_int == 403


def test_released_vm_of_another_user_is_not_shown(pair: Pair) -> None:
    token = pair.token(Role.READER, users=("nobody",))
    with pair.store.writing() as writing:
        vms.record_fields(writing, [{"uid": each.uid, "released": True} for each in vms.all_vms(writing.connection)])
    assert ask(pair, "info", "GET /clusters/{cloud}/vms/{vm}", token).status_int == 403


def test_limited_token_sees_the_operations_asked_for_with_it(pair: Pair) -> None:
    mine = pair.token(Role.OPERATOR, clouds=(pair.cloud,))
    answer = ask(pair, "admin", "PUT /clouds/{cloud}", mine, {"action": "enable"})
    pair.names["operation"] = answer.headers["Location"].rpartition("/")[2]
    assert ask(pair, "info", "GET /operations/{operation}", mine).status_int == 200
    pair.names["operation"] += ".json"
    assert ask(pair, "info", "GET /operations/{operation}", mine).status_int == 200
    other = pair.token(Role.OPERATOR, clouds=(pair.cloud,))
    assert ask(pair, "info", "GET /operations/{operation}", other).status_int == 403


@pytest.mark.parametrize(
    ("role", "limits", "status"),
    [
        (Role.OPERATOR, {}, 403),
        (Role.OPERATOR, {"users": ("alice",)}, 403),
        (Role.OPERATOR, {"users": ("alice", "someone")}, 202),
        (Role.OPERATOR, {"users": ("someone",), "clouds": ("{cloud}",)}, 403),
        (Role.ADMIN, {}, 202),
    ],
)
def test_jobs_run_as_who_the_token_names(pair: Pair, role: Role, limits: dict[str, Any], status: int) -> None:
    named = {name: tuple(each.format_map(pair.names) for each in names) for name, names in limits.items()}
    assert ask(pair, "admin", "POST /jobs", pair.token(role, **named)).status_int == status

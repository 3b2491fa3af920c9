"""Credentials that end: asked of the cloud, told before they fail."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from openstack_api import Cloud, Told

from cloudsched.clouds.openstack import OpenStackCloud
from cloudsched.engine.observe import CREDENTIALS, Observer
from cloudsched.engine.polls import Poll, PollResult
from cloudsched.errors import BadRequirement
from cloudsched.store import Store, limits, polls

NOW = 1_800_000_000
DAY = 86400.0
APPLICATION = {"application_credential_id": "id1", "application_credential_secret": "s3cret"}


@pytest.fixture
def cloud(nova_api: Cloud) -> Cloud:
    return nova_api


def login(cloud: Cloud, **options: Any) -> OpenStackCloud:
    user = {"username": "operator", "password": "right", "tenant_name": "tenant"}
    return OpenStackCloud("mouse", "inst", {"auth_url": f"{cloud.url}/v3", "regions": ("one",)} | (options or user))


def test_an_application_credential_ends_when_keystone_says_so(cloud: Cloud) -> None:
    assert login(cloud, **APPLICATION).credentials_expire_at() is None
    cloud.credential_ends, cloud.password_ends = "2027-01-15T08:00:00.000000", "2000-01-01T00:00:00.000000"
    assert login(cloud, **APPLICATION).credentials_expire_at() == NOW


def test_a_password_may_end_too(cloud: Cloud) -> None:
    assert login(cloud).credentials_expire_at() is None
    cloud.password_ends = "2027-01-15T08:00:00.000000"
    assert login(cloud).credentials_expire_at() == NOW


def test_a_keystone_that_does_not_tell_is_an_error(cloud: Cloud) -> None:
    cloud.tell(Told("GET", "/one/v3/users/u", status=403, body={"error": {"code": 403, "message": "no"}}))
    with pytest.raises(BadRequirement, match="^mouse one: no"):
        login(cloud).credentials_expire_at()


def told(store: Store, observer: Observer, value: float | None, error: Exception | None = None) -> dict[str, str]:
    """The problems that are shown once the poll has brought this."""
    poll = Poll(f"{CREDENTIALS}:mouse", "", lambda: None, 3600.0)
    with store.writing() as writing:
        observer.record(writing, PollResult(poll, NOW, value=value, error=error), NOW)
    with store.reading() as connection:
        assert polls.all_polls(connection) == [], "it is no part of the readiness"
        found: dict[str, str] = limits.read_settings(connection).get(limits.PROBLEMS, {})
        return found


def test_what_ends_soon_is_told_once_until_it_is_renewed(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("cloudscheduler").propagate = True
    caplog.set_level(logging.WARNING, "cloudscheduler")
    observer, sentence = Observer(), "The credentials of cloud mouse end on 2027-01-25 08:00 UTC."
    assert told(store, observer, None) == {}
    assert told(store, observer, NOW + 30 * DAY) == {}
    for _ in range(2):
        assert told(store, observer, NOW + 10 * DAY) == {"Credentials:mouse": sentence}
    assert told(store, observer, None, BadRequirement("mouse does not say.")) == {"Credentials:mouse": sentence}
    assert [record.message for record in caplog.records] == [sentence]
    assert told(store, observer, NOW + 90 * DAY) == {}

"""Every request recorded of the original's two servers, through the real applications and a real store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from golden_state import answers
from info_app import golden_client
from wsgi import Client

from cloudsched import __version__, admin
from cloudsched.config import Config, Global

RECORDED = {name[:3]: each for name, each in answers().items()}

UNORDERED = {"007", "008", "009", *(f"0{number}" for number in range(20, 27))}
"""Python 2 listed these in hash order: compared line by line."""

HONEST = {"096", "097", "099", "100", "101", "102", "104", "105", "106", "107", "113", "114", "115"}
"""v1 said 200 of something unknown; the body stays, the status is 404 (B-02)."""

TABLE_HEADING = "ID     HOSTNAME"
ONE_OF = "must be {}, not {!r}."
QUEUES = "new or sched or high or idle or running or complete or held"
METRICS = "all or total or missing or startup_time or job_run_times"
UNKNOWN_DOUBLY = "name%3Fx%23y not found."

DIFFERENT: dict[str, tuple[int, str, str]] = {
    # recording: our status, text that our body holds, why it differs from the recorded answer
    "001": (200, f"Cloud Scheduler version: {__version__}", "Decisions: v1's sentence with our number"),
    "006": (200, "Threads: ", "issue 2: answers usefully without Guppy"),
    "010": (200, "[mouse--3f8a-0004]\n\taddress 142.104.110.7\n", "B-29: private by address arithmetic"),
    "012": (200, "   Scheduler Thread(5): ", "counts seconds"),
    "014": (200, "Scheduler Thread:\nResource Pool: <state ", "B-06: works"),
    "029": (200, "Total VMs: 5. Total Clouds: 1", "B-30: the cloud's own VMs"),
    "032": (200, "mouse--3f8a-0001 : avg 3901.000000", "B-30"),
    "034": (200, "Cluster: mouse 145, 0, 201, 0, 99,  Avg: 89 ", "B-30"),
    "037": (200, "Total VMs: 2. Total Clouds: 1", "B-30"),
    "040": (200, "ec2-54-10-20-30.compute.example.com : avg 0.000000", "B-30"),
    "042": (200, "Cluster: cheetah 310, 0,  Avg: 155 ", "B-30"),
    "077": (200, "\n.org#10.0#1480000010 alice ", "B-08: any character in an id, quoted once"),
    "078": (200, '"id": "condor.heprc.example.org#10.0#1480000010"', "B-08"),
    "079": (404, "Job not found.", "B-08: decoded once, a name quoted twice is another name"),
    "080": (404, "null", "B-08"),
    "081": (200, "Cluster: test/name?x#y \n", "B-08"),
    "082": (200, '"name": "test/name?x#y"', "B-08"),
    "083": (200, "1", "B-08"),
    "084": (200, "1 ExpiredProxy,", "B-08"),
    "085": (404, UNKNOWN_DOUBLY, "B-08"),
    "086": (404, "{}", "B-08"),
    "087": (404, UNKNOWN_DOUBLY, "B-08"),
    "088": (404, "name%3Fx%23y - check cloud_status", "B-08"),
    "089": (404, UNKNOWN_DOUBLY, "B-08"),
    "090": (404, "{}", "B-08"),
    "091": (404, UNKNOWN_DOUBLY, "B-08"),
    "092": (404, "name%3Fx%23y - check cloud_status", "B-08"),
    "093": (404, "VM with id: vm%2F8%2Ex%3Fa%23b not found.\n", "B-08"),
    "094": (404, "{}", "B-08"),
    "095": (200, "\nvm/8.x?a#b host-8.example.net ", "B-08"),
    "098": (404, "Cluster named nosuch not found.", "B-30, B-02"),
    "103": (200, "Cluster Info: MOUSE\nCluster: mouse \n", "B-09: names in any case, echoed as typed"),
    "108": (404, "Cluster named a%2Fb not found.", "B-08"),
    "109": (404, "Cluster named a b not found.", "B-08"),
    "110": (404, "Cluster named caf\u00e9 not found.", "B-08"),
    "112": (404, "There is no cloud '.json'.", "B-08"),
    "116": (400, "The parameter 'state' is missing.", "Decisions, B-02: 400 naming the parameter"),
    "117": (400, ONE_OF.format(QUEUES, ""), "Decisions, B-02"),
    "118": (400, ONE_OF.format(QUEUES, "bogus"), "Decisions, B-02"),
    "119": (400, ONE_OF.format(QUEUES, "all"), "Decisions, B-02"),
    "120": (400, ONE_OF.format(QUEUES, "New"), "Decisions, B-02"),
    "121": (400, "The parameter 'state' is given twice.", "Decisions, B-02"),
    "122": (400, "The parameter 'x' is unknown", "Decisions, B-02"),
    "123": (400, "The parameter 'state' is unknown", "Decisions, B-02"),
    "124": (400, ONE_OF.format(METRICS, ""), "Decisions, B-02"),
    "125": (400, ONE_OF.format(METRICS, "bogus"), "Decisions, B-02"),
    "126": (400, "The parameter 'metric' is given twice.", "Decisions, B-02"),
    "127": (400, "The parameter 'state' is unknown", "Decisions, B-02"),
    "128": (200, '"total_vms": 8', "our addition: `.json` after every URL"),
    "130": (400, "The parameter 'type' is missing.", "the wiki's URL, /failures?type="),
    "137": (404, "not found", "I15: v1's unescaped dot matched any character"),
    "140": (400, "The parameter 'x' is unknown", "Decisions, B-02"),
    "145": (200, "{u'east': [u'test/name?x#y'], u'west': [u'mouse', u'cheetah']}", "hash order of Python 2"),
}

Clients = Mapping[str, Client]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    directory: Path = tmp_path_factory.mktemp("golden")
    info, store = golden_client(directory)
    drop_in = Config(global_=Global(state_dir=directory, admin_auth="none"))
    yield {"info": info, "admin": Client(admin.create_app(store, drop_in))}
    store.close()


def _ask(clients: Clients, recorded: Mapping[str, Any]) -> Any:
    return clients[recorded["server"]].request(recorded["url"], method=recorded["method"])


def _contains(ours: Any, theirs: Any) -> None:
    """Assert that `ours` has all of `theirs`; it may have more keys. Jobs inside strings are compared as a set."""
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            _contains(ours[key], value)
    elif isinstance(theirs, list) and theirs and isinstance(theirs[0], str) and theirs[0].startswith("{"):
        _contains(*({job["id"]: job for job in map(json.loads, jobs)} for jobs in (ours, theirs)))
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            _contains(our, their)
    else:
        assert (isinstance(ours, bool), ours) == (isinstance(theirs, bool), theirs)


def _same_body(recording: str, ours: str, theirs: str) -> None:
    if recording in UNORDERED:
        assert sorted(ours.splitlines(keepends=True)) == sorted(theirs.splitlines(keepends=True))
    elif theirs.startswith('{"'):
        _contains(json.loads(ours), json.loads(theirs))
    else:
        assert ours == theirs


@pytest.mark.parametrize("recording", RECORDED)
def test_recorded_request_is_answered_as_by_the_original(clients: Clients, recording: str) -> None:
    recorded = RECORDED[recording]
    response = _ask(clients, recorded)
    if recording in DIFFERENT:
        status, text, _ = DIFFERENT[recording]
        assert response.status_int == status
        assert text in response.text
        return
    assert response.status_int == (404 if recording in HONEST else recorded["status"])
    _same_body(recording, response.text, recorded["body"])


def test_only_unlike_answers_are_listed_as_different(clients: Clients) -> None:
    for recording in DIFFERENT:
        recorded = RECORDED[recording]
        response = _ask(clients, recorded)
        alike = response.status_int == recorded["status"] and response.text == recorded["body"]
        assert not alike or recording == "012"


def test_every_answer_has_a_content_type(clients: Clients) -> None:
    """v1's had none (B-11)."""
    for recorded in RECORDED.values():
        response = _ask(clients, recorded)
        is_json = recorded["url"].partition("?")[0].endswith(("json", "%2Ejson"))
        expected = ("application/json", "application/problem+json") if is_json else ("text/plain",)
        assert response.content_type in (*expected, "text/plain"), recorded["url"]

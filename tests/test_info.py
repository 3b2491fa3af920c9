"""The information daemon beyond the recordings: forms, names, conditional requests, what ages, bad input."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from golden_state import golden
from info_app import golden_client, open_store
from wsgi import Client, RawRequest

from cloudsched.config import Config
from cloudsched.config.options import Global
from cloudsched.info import create_app
from cloudsched.info.picture import MOST_ASKED
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Job, Shape
from cloudsched.model.troubles import CloudCall, Trouble, TroubleKind
from cloudsched.model.vms import VM
from cloudsched.store import Store, clouds, jobs, verbs, vms, wishes

JSON = {"Accept": "application/json"}
BOTH_FORMS = (
    *("/cloud", "/cloud/config", "/clusters", "/clusters/mouse/vms", "/vms", "/vms?metric=all", "/vms?metric=total"),
    *("/vms?metric=missing", "/vms?metric=startup_time", "/vms?metric=job_run_times", "/jobs?state=new", "/ips"),
    *("/failures/boot", "/failures/image", "/failures?type=boot", "/failures?type=image", "/diff-types"),
    *("/cloud/health", "/shared-objs", "/developer-info", "/developer_info", "/thread-heart-beats"),
)
NAMES = (
    *(
        "a/b",
        "50%",
        "50%25",
        "who?",
        "c#d",
        "two words",
        "it's",
        'say "hi"',
        "café",
        "東京",
        "x.json",
        "a;b=c&d",
        "+",
        "~",
    ),
    *("sched.example.org#245.698#1282577354", "a:b@c", "-1", "\\", "…", "%2F", "..."),
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Client, Store]]:
    client, store = golden_client(tmp_path)
    yield client, store
    store.close()


@pytest.fixture
def client(served: tuple[Client, Store]) -> Client:
    return served[0]


@pytest.mark.parametrize(
    ("kind", "state", "next_try"),
    [
        (TroubleKind.QUOTA, "full", 1_800_000_060),
        (TroubleKind.TRANSIENT, "backing-off", 1_800_000_060),
        (TroubleKind.OUTAGE, "out", 1_800_000_060),
        (TroubleKind.CREDENTIAL, "refused", None),
    ],
)
def test_trouble_of_a_cloud_is_shown_with_cause_since_next_try_and_last_good(
    served: tuple[Client, Store], kind: TroubleKind, state: str, next_try: int | None
) -> None:
    client, store = served
    times = {"since": 1_800_000_000, "next_try": next_try, "last_good": 1_799_999_940}
    with store.writing() as writing:
        trouble = Trouble(kind, CloudCall.LISTING, "It says no.", failures=2, **times)
        clouds.record_fields(writing, "mouse", {"trouble": trouble})
        writing.touch("wishes")
    expected = {"state": state, "cause": "It says no.", "failures": 2, **times}
    (shown,) = [each for each in client.get("/cloud/health.json").json["clouds"] if each["name"] == "mouse"]
    assert shown == {"name": "mouse", "enforced": None, **expected}
    assert client.get("/clusters/mouse.json").json["health"] == expected
    at = "2027-01-15T08:01:00Z" if next_try else "-"
    row = f"mouse           {state:<12} 2027-01-15T08:00:00Z {at:<20} 2027-01-15T07:59:00Z It says no."
    assert row in client.get("/cloud/health").text.splitlines()


@pytest.mark.parametrize("url", BOTH_FORMS)
def test_url_has_both_forms(client: Client, url: str) -> None:
    path, _, query = url.partition("?")
    by_url = client.get(f"{path}.json?{query}" if query else f"{path}.json")
    by_accept = client.get(url, headers=JSON)
    assert client.get(url).content_type == "text/plain"
    assert by_url.content_type == by_accept.content_type == "application/json"
    assert by_url.json.keys() == by_accept.json.keys()


@pytest.mark.parametrize(
    "url", [*BOTH_FORMS, "/", "/clusters.json", "/job-pool.json", "/job_pools.json", "/jobs/job-1"]
)
def test_head_is_get_without_a_body(client: Client, url: str) -> None:
    head = client.head(url)
    assert (head.status_int, head.body) == (200, b"")
    assert head.content_type == client.get(url).content_type


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize(
    "url", ["/", "/clusters", "/clusters/mouse", "/vms", "/jobs/job-1", "/thread-heart-beats", "/cloud/health"]
)
def test_other_methods_are_refused_with_allow(client: Client, method: str, url: str) -> None:
    response = client.request(url, method=method)
    assert (response.status_int, response.text) == (405, "None")
    assert "GET" in response.headers["Allow"]


def test_wikis_urls_answer_like_v1s(client: Client) -> None:
    assert client.get("/vms/resources").body == client.get("/vms").body
    assert client.get("/failures?type=boot").body == client.get("/failures/boot").body
    assert client.get("/failures?type=image").body == client.get("/failures/image").body
    assert client.get("/developer_info").text.startswith("Process: ")


def test_job_pool_is_encoded_once_under_the_wikis_url(client: Client) -> None:
    once, twice = client.get("/job_pools.json").json, client.get("/job-pool.json").json
    assert {queue: [json.loads(job) for job in listed] for queue, listed in twice.items()} == once


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_asked_for(served: tuple[Client, Store], name: str) -> None:
    client, store = served
    with store.writing() as writing:
        clouds.record_clouds(writing, [*golden().clouds, Cloud(name, "OpenStack", position=9, vm_slots=1)])
        vms.record_vms(writing, [VM("odd", name, name, user=name, hostname=name, position=99)])
        jobs.record_jobs(writing, [Job(name, Shape(name), cluster_id=77)])
    quoted = quote(name, safe="")
    assert client.get(f"/clusters/{quoted}").text.startswith(f"Cluster Info: {name}\nCluster: {name} \n")
    assert client.get(f"/clusters/{quoted}.json").json["name"] == name
    assert client.get(f"/clusters/{quoted}/vms?metric=total").text == "1"
    assert client.get(f"/clusters/{quoted}/vms/{quoted}").text.startswith(f"VM Info for VM id: {name}\n{name} ")
    assert client.get(f"/clusters/{quoted}/vms/{quoted}.json").json["id"] == name
    assert client.get(f"/jobs/{quoted}").text.splitlines()[1].startswith(name[-20:])
    assert client.get(f"/jobs/{quoted}.json").json["id"] == name


def test_name_that_ends_in_json_wins_over_the_form(served: tuple[Client, Store]) -> None:
    client, store = served
    assert client.get("/clusters/mouse.json").content_type == "application/json"
    with store.writing() as writing:
        clouds.record_clouds(writing, [*golden().clouds, Cloud("mouse.json", "OpenStack", position=9)])
        writing.touch("wishes")
    assert client.get("/clusters/mouse.json").text.startswith("Cluster Info: mouse.json\n")
    assert client.get("/clusters/mouse.json.json").json["name"] == "mouse.json"


def test_job_answers_to_its_cluster_and_proc(client: Client) -> None:
    assert client.get("/jobs/12.3.json").json["id"] == "condor.heprc.example.org#12.0#1480000012"


@pytest.mark.parametrize("url", ["/clusters/nosuch", "/clusters/mouse/vms/nosuch", "/jobs/nosuch"])
def test_unknown_name_is_a_problem_for_readers_of_json(client: Client, url: str) -> None:
    for asked in (client.get(url, headers=JSON), client.get(f"{url}.json", headers=JSON)):
        assert (asked.status_int, asked.content_type) == (404, "application/problem+json")
        assert asked.json["code"] == "not-found"
    assert client.get(f"{url}.json").text in ("{}", "null")


def _touch_vm(store: Store, status: str) -> None:
    """A commit that changes a VM, and a wish, so that it is published at once."""
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": "vm-mouse-2", "status": status}])
        writing.touch("wishes")


def test_etag_is_the_state_index_of_what_the_page_depends_on(served: tuple[Client, Store]) -> None:
    client, store = served
    first = client.get("/clusters.json")
    assert first.headers["ETag"] == f'"{store.state().index}"'
    assert first.headers["X-State-Index"] == str(store.state().index)
    verbs.wish_enabled(store, wishes.By("test"), "mouse", False)
    again = client.get("/clusters.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_int, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    _touch_vm(store, "Running")
    changed = client.get("/clusters.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (changed.status_int, changed.headers["ETag"]) == (200, f'"{store.state().index}"')


@pytest.mark.parametrize("header", ["*", "{}", '"1", {}', "W/{}", '"1",W/{}'])
def test_who_has_the_page_is_told_so_twice(client: Client, header: str) -> None:
    """By the resource first, then by what it left ready."""
    tag = client.get("/vms").headers["ETag"]
    asked = {"If-None-Match": header.format(tag)}
    answers = [client.get("/vms", headers={**asked, "Accept": "text/plain"}) for _ in range(2)]
    assert [(each.status_int, each.body, each.headers["ETag"]) for each in answers] == [(304, b"", tag)] * 2
    assert client.get("/vms", headers={"If-None-Match": '"1", "0"'}).status_int == 200


def test_each_form_has_a_tag_of_its_own(client: Client) -> None:
    forms = [{}, JSON, {**JSON, "Accept-Encoding": "gzip"}]
    answers = [client.get("/clusters", headers=form) for form in forms]
    assert len({each.headers["ETag"] for each in answers}) == 3
    assert {each.headers["Vary"] for each in answers} == {"Accept, Accept-Encoding"}


def _sent(client: Client, path: str, accepted: str) -> tuple[dict[str, str], bytes]:
    """Headers and body as they leave the application: the client's library would unpack them."""
    told: dict[str, str] = {}

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> None:
        told.update({name.title(): value for name, value in headers})

    environ = RawRequest.blank(path, headers={"Accept-Encoding": accepted}).environ
    return told, b"".join(client.app(environ, start_response))


def test_gzip_is_for_who_asks_for_it(client: Client) -> None:
    plain = client.get("/clusters.json").body
    for accepted in ("gzip", "gzip", "deflate, GZIP;q=0.5"):
        told, packed = _sent(client, "/clusters.json", accepted)
        assert (told["Content-Encoding"], told["Content-Length"]) == ("gzip", str(len(packed)))
        assert (gzip.decompress(packed), len(packed) < len(plain)) == (plain, True)
    for accepted in ("identity", "*", "gzip;q=0", "br"):
        assert _sent(client, "/clusters.json", accepted)[1] == plain
    assert "Content-Encoding" not in _sent(client, "/vms?metric=total", "gzip")[0]


def test_ready_answer_is_the_resources_answer(client: Client) -> None:
    """Status, headers and body, request by request; the second of each is the ready one."""
    asked = [(url, headers) for url in BOTH_FORMS for headers in ({}, JSON, {"Accept-Encoding": "gzip"})]
    for url, headers in asked:
        if url in ("/developer-info", "/developer_info", "/thread-heart-beats"):
            continue
        first, second = (client.get(url, headers={**headers, "X-Request-ID": name}) for name in ("one", "two"))
        assert (first.headers["X-Request-ID"], second.headers["X-Request-ID"]) == ("one", "two")
        assert (first.status, first.body) == (second.status, second.body)
        for name in {*first.headers, *second.headers} - {"X-Request-ID", "x-request-id"}:
            assert first.headers.get(name) == second.headers.get(name), (url, name)


def test_ready_answers_are_counted_and_named(client: Client) -> None:
    for _ in range(3):
        assert re.fullmatch("[0-9a-f]{32}", client.get("/vms").headers["X-Request-ID"])
    counted = client.get("/metrics/process.json").json["metrics"]
    requests = next(each for each in counted if each["name"] == "cloudsched_http_requests_total")
    assert [each["value"] for each in requests["samples"]] == [3.0]


def test_many_ways_of_asking_do_not_pile_up(client: Client) -> None:
    for number in range(MOST_ASKED + 2):
        assert client.get("/vms?metric=total", headers={"Accept": f"text/plain, x/{number}"}).text == "8"


def test_released_vm_has_a_document_and_no_text(served: tuple[Client, Store]) -> None:
    client, store = served
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": "vm-mouse-5", "released": True}])
        writing.touch("wishes")
    assert "testvm" not in client.get("/vms").text
    assert client.get("/clusters/mouse/vms/testvm").status_int == 404
    assert client.get("/clusters/mouse/vms/testvm.json").json["released"] is True
    assert [vm["id"] for vm in client.get("/clusters/mouse.json").json["released_vms"]] == ["testvm"]
    assert client.get("/clusters/mouse/vms?metric=total").text == "4"


def test_removed_cloud_answers_while_it_drains(served: tuple[Client, Store]) -> None:
    client, store = served
    with store.writing() as writing:
        clouds.record_clouds(writing, [replace(each, removed=each.name == "cheetah") for each in golden().clouds])
        writing.touch("wishes")
    assert client.get("/vms").text.count("Retiring VMs from removing resources:\n") == 1
    assert "Total VMs: 0. Total Clouds: 0\n\nRetiring" in client.get("/clusters/cheetah/vms").text
    assert [cloud["name"] for cloud in client.get("/clusters.json").json["retired_resources"]] == ["cheetah"]


def test_reasons_of_a_shape_reach_the_failures(served: tuple[Client, Store]) -> None:
    client, store = served
    waiting = next(job for job in golden().jobs if job.id == "job-7")
    with store.writing() as writing:
        jobs.record_reasons(writing, {waiting.shape.key: ["needs 99 MB, 1 MB left on mouse"]})
        writing.touch("wishes")
    assert "   Job ID: job-7\n      needs 99 MB, 1 MB left on mouse\n" in client.get("/failures/boot").text
    assert client.get("/jobs/job-7.json").json["failed_boot_reason"] == ["needs 99 MB, 1 MB left on mouse"]


def test_heartbeats_are_read_at_each_request(client: Client) -> None:
    ages = {each["name"]: each["age"] for each in client.get("/thread-heart-beats.json").json["threads"]}
    assert list(ages) == ["Scheduler", "Cleanup", "VMPoller", "JobPoller", "MachinePoller"]
    assert 65 <= ages["VMPoller"] < 600
    assert 1805 <= ages["MachinePoller"] < 2400


@pytest.mark.parametrize("url", ["/thread-heart-beats", "/developer-info", "/cloud/config"])
def test_what_changes_without_a_commit_has_no_etag(client: Client, url: str) -> None:
    response = client.get(url, headers={"If-None-Match": "*"})
    assert response.status_int == 200
    assert "ETag" not in response.headers


def test_configuration_is_the_files_as_it_is_now(client: Client, tmp_path: Path) -> None:
    """Percent signs stand as they are and secrets nowhere (B-45)."""
    (tmp_path / "cloud_resources.conf").write_text(
        "[Rat]\nhost: rat.example.org\ncloud_type: Dummy\npassword: 100%\nvm_slots: 5\nkey_name: 50%(x\napi_token: t\n"
    )
    assert client.get("/cloud/config").text == (
        "Rat [host,rat.example.org][cloud_type,Dummy][vm_slots,5][key_name,50%(x]\n"
    )


def test_broken_configuration_is_said_with_file_and_line(client: Client, tmp_path: Path) -> None:
    (tmp_path / "cloud_resources.conf").write_text("[Rat]\nhost: rat\nno option here\n")
    response = client.get("/cloud/config")
    assert response.status_int == 409
    assert "cloud_resources.conf:3: " in response.text


def test_configuration_without_a_file_is_the_states(tmp_path: Path) -> None:
    client, store = golden_client(tmp_path, cloud_resource_config=None)
    assert client.get("/cloud/config").text.startswith("mouse [auth_url,https://mouse.example.org:5000/v3]")
    assert "not-shown" not in client.get("/cloud/config").text
    store.close()


def test_fresh_state_reads_as_v1s_empty_pool(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    client = Client(create_app(store, Config(global_=Global(state_dir=tmp_path))))
    assert client.get("/cloud").text.endswith("Pool is empty...")
    assert client.get("/vms").text.endswith("\n\nTotal VMs: 0. Total Clouds: 0")
    assert client.get("/clusters.json").json["resources"] == []
    assert client.get("/job-pool.json").json == {"new_jobs": [], "sched_jobs": []}
    assert client.get("/vms?metric=all").body == client.get("/ips").body == b""
    assert client.get("/diff-types").text.count("\n") == 3
    assert len(re.findall(r"Thread\(5\): \d+\n", client.get("/thread-heart-beats").text)) == 5
    store.close()


@pytest.mark.sqlite
def test_missing_database_is_503_with_retry_after(tmp_path: Path) -> None:
    client, store = golden_client(tmp_path)
    store.close()
    for file in tmp_path.glob("state.db*"):
        file.unlink()
    for url in ("/clusters.json", "/thread-heart-beats", "/vms"):
        response = client.get(url)
        assert response.status_int == 503
        assert int(response.headers["Retry-After"]) > 0
        assert "Traceback" not in response.text


def test_token_guards_every_url_when_asked_to(tmp_path: Path) -> None:
    client, store = golden_client(tmp_path, info_auth="token")
    token = (tmp_path / "admin.token").read_text().strip()
    assert client.get("/clusters").status_int == 401
    assert client.get("/clusters", headers={"Authorization": f"Bearer {token}"}).status_int == 200
    store.close()


def test_operations_are_readable_here_too(served: tuple[Client, Store]) -> None:
    client, store = served
    operation = verbs.wish_enabled(store, wishes.By("test"), "mouse", False)
    assert client.get(f"/operations/{operation.id}", headers=JSON).json["verb"] == "disable"
    assert client.get("/operations/999").status_int == 404

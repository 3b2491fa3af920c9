"""The metrics: three forms with the same figures, bounded cardinality, counters that the engine keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import databases
import pytest
from golden_state import golden
from info_app import golden_client
from prometheus_client.parser import text_string_to_metric_families
from scheduler_process import ROOT, scheduler, wait_for
from wsgi import Client

from cloudsched.engine.inventory import forget_tallies
from cloudsched.engine.minutes import Minutes, counts
from cloudsched.engine.observe import Observer
from cloudsched.engine.polls import Poll, PollResult
from cloudsched.model.clouds import Cloud, ObservedVM
from cloudsched.model.jobs import Job, JobDelta, JobGroup, Machine, Shape
from cloudsched.model.metrics import BOOT_FAILURES, BOOTS, FAILURE_CLASSES, IDLE, PROCESS, STATE, observed
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM
from cloudsched.policy.idleness import idle_cores
from cloudsched.render import metrics
from cloudsched.render.fleet import fleet
from cloudsched.render.metrics import Facts
from cloudsched.store import Store, clouds, history, tallies, verbs, vms, wishes
from cloudsched.web.traffic import Traffic

JSON = {"Accept": "application/json"}
Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]
SHAPE = Shape("alice")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Client, Store]]:
    client, store = golden_client(tmp_path)
    yield client, store
    store.close()


def of_text(text: str) -> Figures:
    families = text_string_to_metric_families(text)
    return {(each.name, frozenset(each.labels.items())): each.value for f in families for each in f.samples}


def of_json(document: dict[str, object]) -> Figures:
    families: list[dict[str, object]] = document["metrics"]  # type: ignore[assignment]
    samples: list[dict[str, object]] = [each for family in families for each in family["samples"]]  # type: ignore
    return {(str(s["name"]), frozenset(s["labels"].items())): float(s["value"]) for s in samples}  # type: ignore


def figure(figures: Figures, name: str, **labels: str) -> float:
    return figures[name, frozenset(labels.items())]


def tallied(store: Store) -> dict[tuple[str, ...], float]:
    with store.reading() as connection:
        return tallies.all_tallies(connection)


def test_text_and_json_have_the_same_figures(served: tuple[Client, Store]) -> None:
    client, store = served
    with store.writing() as writing:
        tallies.add_tallies(writing, [((BOOTS, "mouse"), 3.0), *observed("cloudsched_boot_seconds", 93, "mouse")])
    text, document = client.get("/metrics"), client.get("/metrics.json")
    assert of_text(text.text) == of_json(document.json)
    assert len(of_text(text.text)) > 100
    assert document.json["index"] == figure(of_text(text.text), "cloudsched_state_index")
    assert client.get("/metrics", headers=JSON).json == document.json
    assert text.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert {each["name"] for each in document.json["metrics"]} == set(STATE)


def test_figures_are_those_of_the_state(served: tuple[Client, Store]) -> None:
    client, store = served
    verbs.wish_enabled(store, wishes.By("root"), "mouse", False)
    figures = of_text(client.get("/metrics").text)
    total = sum(value for (name, _), value in figures.items() if name == "cloudsched_vms")
    assert total == int(client.get("/vms?metric=total").text) == len(golden().vms)
    assert sum(value for (name, _), value in figures.items() if name == "cloudsched_jobs") == len(golden().jobs)
    assert figure(figures, "cloudsched_cloud_slots", cloud="mouse") == 10
    assert figure(figures, "cloudsched_cloud_slots_used", cloud="test/name?x#y") == 1
    running = {"cloud": "cheetah", "state": "Running", "user": "carol", "vmtype": "atlas-worker"}
    assert figure(figures, "cloudsched_vms", **running) == 1
    assert figure(figures, "cloudsched_jobs", state="held", user="bob") == 2
    assert figure(figures, "cloudsched_wishes_waiting", aspect="enabled") == 1
    assert figure(figures, "cloudsched_cloud_enabled", cloud="cheetah") == 0


def test_page_is_a_function_of_the_index(served: tuple[Client, Store]) -> None:
    client, store = served
    first = client.get("/metrics")
    assert first.headers["ETag"] == f'"{store.state().index}"'
    same = client.get("/metrics", headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status_int, same.body) == (304, b"")
    assert client.get("/metrics").body == first.body
    with store.writing() as writing:
        tallies.add_tallies(writing, [((BOOT_FAILURES, "mouse", "quota"), 2.0)])
    time.sleep(0.25)  # observations are published at most this much later
    second = client.get("/metrics", headers={"If-None-Match": first.headers["ETag"]})
    assert second.status_int == 200
    failures = {"cloud": "mouse", "class": "quota"}
    assert figure(of_text(second.text), "cloudsched_boot_failures_total", **failures) == 2


def test_tally_moves_the_index_alone_and_zero_moves_nothing(store: Store) -> None:
    before = store.state()
    with store.writing() as writing:
        tallies.add_tallies(writing, [((BOOTS, "c"), 1.0), ((BOOTS, "c"), 1.0)])
    after = store.state()
    assert after.index == before.index + 1
    assert (after.vms, after.verbs, after.clouds) == (before.vms, before.verbs, before.clouds)
    assert tallied(store) == {(BOOTS, "c"): 2.0}
    with store.writing() as writing:
        tallies.add_tallies(writing, [((BOOTS, "c"), 0.0)])
        tallies.add_tallies(writing, [])
    assert store.state() == after


def test_counters_of_gone_clouds_are_forgotten_by_readers_too(served: tuple[Client, Store]) -> None:
    client, store = served
    with store.writing() as writing:
        tallies.add_tallies(writing, [((BOOTS, "gone"), 1.0), ((BOOTS, "mouse"), 1.0), ((IDLE, "failed"), 9.0)])
        tallies.add_tallies(writing, [(("of_an_older_release",), 1.0)])
    assert 'cloud="gone"' in client.get("/metrics").text
    with store.writing() as writing:
        forget_tallies(writing)
    assert set(tallied(store)) == {(BOOTS, "mouse"), (IDLE, "failed")}
    time.sleep(0.25)
    assert 'cloud="gone"' not in client.get("/metrics").text


def test_many_users_of_jobs_fold_into_other() -> None:
    jobs = {(1, f"user{n:03}"): 3 if n < 200 else 2 for n in range(400)} | {(2, "big"): 9}
    found = {each.name: each for each in metrics.state_families(Facts(index=1, jobs=jobs))}
    samples = found["cloudsched_jobs"].samples
    users = {each.labels["user"] for each in samples}
    assert len(users) == 51
    assert {"big", "other"} <= users
    assert sum(each.value for each in samples) == 1009


@pytest.mark.parametrize(("label", "field"), [("user", "user"), ("vmtype", "vmtype"), ("state", "status")])
def test_many_users_types_and_states_of_vms_fold_into_other(label: str, field: str) -> None:
    many = [replace(VM(f"u{n}", "c"), **{field: f"name{n // 2:03}"}) for n in range(399)]
    facts = Facts(index=1, fleet=fleet([Cloud("c", "local")], many))
    (samples,) = [each.samples for each in metrics.state_families(facts) if each.name == "cloudsched_vms"]
    counts = {each.labels[label]: each.value for each in samples}
    limit = metrics.LIMITS[label]
    assert counts == {f"name{n:03}": 2.0 for n in range(limit)} | {"other": 399.0 - 2 * limit}


def test_distribution_is_cumulative_and_ends_at_infinity() -> None:
    counts = {("c", "10"): 1.0, ("c", "60"): 2.0, ("c", "+Inf"): 1.0, ("c", "sum"): 9999.5}
    family = metrics.histogram(STATE["cloudsched_boot_seconds"], counts, [("c",)])
    buckets = [each.value for each in family.samples if each.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-1]) == (1.0, 4.0)
    assert family.samples[-1].value == 4.0
    assert family.samples[-2].value == 9999.5


@pytest.mark.parametrize(("seconds", "bucket"), [(0, "10"), (10, "10"), (10.5, "20"), (3600, "3600"), (3601, "+Inf")])
def test_observation_falls_into_its_bucket(seconds: float, bucket: str) -> None:
    (first, one), (second, total) = observed("cloudsched_boot_seconds", seconds, "c")
    assert (first, one) == (("cloudsched_boot_seconds", "c", bucket), 1.0)
    assert (second, total) == (("cloudsched_boot_seconds", "c", "sum"), seconds)


def slot(vm: str, name: str, state: str) -> Machine:
    return Machine(f"{name}@{vm}", vm, vm=vm, state=state, activity="Busy" if state == "Claimed" else "Idle")


def test_idle_cores_have_causes() -> None:
    vm = VM("u", "c", status="Running", cpucores=4)
    fleet = {
        "starting": VM("a", "c", cpucores=2),
        "failed": VM("b", "c", status="Error"),
        "retiring": VM("d", "c", status="Running", override_status="Retiring"),
        "unjoined": VM("e", "c", status="Running"),
        "keep_alive": VM("f", "c", status="Running", keep_alive=60, idle_start=5),
        "unclaimed": vm,
    }
    machines = [slot("f", "slot1", "Unclaimed"), slot("u", "slot1", "Claimed"), slot("u", "slot2", "Unclaimed")]
    snapshot = Snapshot(1, 0, vms=tuple(fleet.values()), machines=tuple(machines))
    assert idle_cores(snapshot) == {
        "starting": 2.0,
        "failed": 1.0,
        "retiring": 1.0,
        "unjoined": 1.0,
        "keep_alive": 1.0,
        "unclaimed": 2.0,
    }


def poll(name: str, value: object) -> PollResult:
    return PollResult(Poll(name, name.partition(":")[0], lambda: None, 5.0), 0.0, value)


def test_engine_tallies_boot_times_runs_and_waits(store: Store) -> None:
    observer = Observer()
    idle = Job("h#1.0#1", SHAPE, job_status=1, submitted_at=1000)
    running = Job("h#1.0#1", SHAPE, job_status=2, submitted_at=1000, jobstarttime=1030, remote_host="slot1@u")
    done = Job("h#1.0#1", SHAPE, job_status=4, submitted_at=1000, jobstarttime=1030, finished_at=1090)
    short = Job("h#2.0#1", SHAPE, job_status=4, submitted_at=1000, jobstarttime=1003, finished_at=1004)
    reports = [
        poll("VMPoller:c", [ObservedVM("u", "u", "Running", "host")]),
        *(poll("JobPoller", JobDelta((job,), server_time=1090)) for job in (idle, running, running, done, done, short)),
    ]
    with store.writing() as writing:
        clouds.record_clouds(writing, [Cloud("c", "local")])
        vms.record_vms(writing, [VM("u", "c", initialize_time=900)])
    for report in reports:
        with store.writing() as writing:
            observer.record(writing, report, 942)
    found = tallied(store)
    assert found["cloudsched_boot_seconds", "c", "45"] == 1
    assert found["cloudsched_boot_seconds", "c", "sum"] == 42
    assert found["cloudsched_job_wait_seconds", "60"] == 1
    assert found["cloudsched_job_wait_seconds", "sum"] == 33
    assert found["cloudsched_job_run_seconds", "c", "sum"] == 60
    assert found["cloudsched_job_run_seconds", "unknown", "sum"] == 1


def test_minutes_sum_up_idle_cores_and_keep_a_day(store: Store) -> None:
    groups = (JobGroup("s", 0, 1, "Unscheduled", False, (), 7), JobGroup("s", 0, 2, "Scheduled", False, (), 2))
    snapshot = Snapshot(1, 0, vms=(VM("e", "c", status="Running", cpucores=3),), groups=groups)
    minutes = Minutes()
    assert not minutes.is_due(0.0)
    for now in (6000.0, 6010.0, 5990.0, 9000.0):
        minutes.see(snapshot, now)
    assert minutes.is_due(9000.0)
    with store.writing() as writing:
        minutes.record(writing, 9000.0)
        minutes.add_idle(writing)
    minutes.recorded(9000.0)
    minutes.added()
    assert not minutes.is_due(9059.0)
    # 10 s, none for a clock that went back, and a gap counts as one minute.
    assert tallied(store)[IDLE, "unjoined"] == 3 * 70
    with store.writing() as writing:
        history.record_minute(writing, 150 + history.MINUTES - 1, {"vms": 1.0})
    with store.reading() as connection:
        kept = history.read_history(connection)
    assert [minute for minute, _ in kept] == [150, 150 + history.MINUTES - 1]
    assert kept[0][1] == counts(snapshot, {"unjoined": 3.0})
    assert kept[0][1]["jobs_waiting"] == 7
    with store.writing() as writing:
        history.record_minute(writing, 150 + history.MINUTES, {"vms": 2.0})
    with store.reading() as connection:
        assert len(history.read_history(connection)) == 2


def test_idle_cores_wait_for_a_commit_that_moves_the_index(store: Store) -> None:
    minutes = Minutes()
    snapshot = Snapshot(1, 0, vms=(VM("e", "c", status="Running"),))
    for now in (0.0, 20.0, 40.0, 60.0):
        minutes.see(snapshot, now)
        with store.writing() as writing:
            minutes.add_idle(writing)
        minutes.added()
    assert tallied(store) == {}
    with store.writing() as writing:
        vms.record_vms(writing, [VM("e", "c")])
        minutes.add_idle(writing)
    minutes.added()
    assert tallied(store) == {(IDLE, "unjoined"): 60.0}
    index = store.state().index
    for now in range(70, 661, 10):
        minutes.see(snapshot, float(now))
        with store.writing() as writing:
            minutes.add_idle(writing)
        minutes.added()
    assert store.state().index == index + 1
    assert tallied(store) == {(IDLE, "unjoined"): 660.0}


def test_traffic_counts_by_method_and_status() -> None:
    traffic = Traffic()
    for method, status, seconds in (("GET", 200, 0.001), ("GET", 200, 99.0), ("PUT", 409, 0.2), ("X\n", 405, 0.0)):
        traffic.add(method, status, seconds)
    requests, took = traffic.families()
    assert {(s.labels["method"], s.labels["status"]): s.value for s in requests.samples} == {
        ("GET", "200"): 2,
        ("PUT", "409"): 1,
        ("other", "405"): 1,
    }
    assert took.samples[-1].value == 4
    assert took.samples[-2].value == pytest.approx(99.201)


@pytest.mark.sqlite
def test_process_page_has_both_forms_and_survives_a_lost_state(tmp_path: Path) -> None:
    client, store = golden_client(tmp_path)
    text, document = of_text(client.get("/metrics/process").text), client.get("/metrics/process.json").json
    names = {each["name"] for each in document["metrics"]}
    assert set(PROCESS) <= names
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "python_info"} <= names
    assert figure(text, "cloudsched_engine_up") == 0
    assert figure(text, "cloudsched_heartbeat_age_seconds", stage="Scheduler") >= 0
    assert figure(text, "cloudsched_build_info", version="2.0.0", daemon="info") == 1
    assert "index" not in document
    store.close()
    (tmp_path / "state.db").rename(tmp_path / "elsewhere")
    left = of_text(client.get("/metrics/process").text)
    assert figure(left, "cloudsched_http_requests_total", method="GET", status="200") == 2
    assert ("cloudsched_engine_up", frozenset()) not in left
    assert client.get("/metrics/process?x=1").status_int == 400


def test_engine_counts_real_boots_and_failures(tmp_path: Path) -> None:
    """One local VM that comes up, and on another cloud VMs whose command cannot even start."""
    (tmp_path / "clouds.conf").write_text(
        "[good]\ncloud_type = local\nvm_slots = 1\nmemory = 4000\nenabled = true\n"
        "[broken]\ncloud_type = local\nvm_slots = 1\nmemory = 4000\nenabled = true\ncommand = /nonexistent {uid}\n"
    )
    # Long enough to be seen running on the busiest machine: else nobody knows on which cloud it ran.
    job = 'executable = /bin/sleep\narguments = 3\n+TargetClouds = "{}"\nqueue\n'
    with scheduler(tmp_path, "--no-servers", cloud_resource_config=tmp_path / "clouds.conf"):
        directory = tmp_path / "state"
        store = databases.open_store(directory)
        for cloud in ("good", "broken"):
            verbs.wish_submit(store, wishes.By("me"), "root", job.format(cloud), str(tmp_path))
        expected = {(BOOTS, "good"), (BOOTS, "broken"), ("cloudsched_boot_seconds", "good", "sum")}
        wait_for(lambda: expected | {("cloudsched_job_wait_seconds", "sum")} <= tallied(store).keys())
        wait_for(lambda: any(key[:2] == (BOOT_FAILURES, "broken") for key in tallied(store)))
        assert {key[2] for key in tallied(store) if key[0] == BOOT_FAILURES} <= FAILURE_CLASSES.keys()
        wait_for(lambda: ("cloudsched_job_run_seconds", "good", "sum") in tallied(store))
        with store.reading() as connection:
            assert history.read_history(connection)
        store.close()


def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    for metric in (*STATE.values(), *PROCESS.values()):
        assert f"| `{metric.name}` | {metric.kind} |" in page, metric.name
        assert metric.help.rstrip(".") in page, metric.name
    for word in (*FAILURE_CLASSES, *idle_cores(Snapshot(1, 0))):
        assert f"`{word}`" in page, word

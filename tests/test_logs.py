"""The processes' logs: plain and JSON lines, the access line, and one level for all three processes."""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import databases
import pytest
import requests
from scheduler_process import scheduler, wait_for
from wsgi import Client, everybody

from cloudsched import logs
from cloudsched.model.metrics import BOOTS
from cloudsched.store import Store, jobs, tallies, verbs, vms, wishes
from cloudsched.web.app import build
from cloudsched.web.auth import Auth
from cloudsched.web.keyring import Keyring

TOKEN = "a-token-of-many-characters"


class Page:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.text = "here"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the access log is told, also after something in this process has set the log up for good."""
    monkeypatch.setattr(logging.getLogger("cloudscheduler"), "propagate", True)
    caplog.set_level(logging.INFO, "cloudscheduler.access")
    yield caplog


def test_access_line_has_actor_duration_and_request_id(lines: pytest.LogCaptureFixture, store: Store) -> None:
    gate = everybody("GET /page", auth=Auth("token", Keyring(store, TOKEN)))
    app = Client(build({"/page": Page()}, gate, "all"))
    app.get("/page?secret=1", headers={"Authorization": f"Bearer {TOKEN}", "X-Request-ID": "mine-1"})
    app.get("/page", headers={"X-Request-ID": "mine-2"})
    first, second = (record for record in lines.records if record.name == "cloudscheduler.access")
    document = json.loads(logs.JsonLines().format(first))
    assert document.pop("time").endswith("+00:00")
    assert document.pop("milliseconds") >= 0
    assert document.pop("thread")
    assert document.pop("message").startswith("admin@127.0.0.1 GET /page 200 ")
    assert document == {
        "level": "INFO",
        "logger": "cloudscheduler.access",
        "actor": "admin@127.0.0.1",
        "method": "GET",
        "path": "/page",
        "status": 200,
        "request_id": "mine-1",
    }
    assert second.getMessage().startswith("anonymous@127.0.0.1 GET /page 401 ")
    assert second.getMessage().endswith(" ms mine-2")
    assert TOKEN not in lines.text
    assert "secret" not in lines.text


@pytest.mark.parametrize(("logged", "told"), [("errors", ["404"]), ("all", ["200", "404"])])
def test_access_log_tells_of_errors_or_of_all(lines: pytest.LogCaptureFixture, logged: str, told: list[str]) -> None:
    app = Client(build({"/page": Page()}, everybody("GET /page"), logged))
    for path in ("/page", "/nowhere"):
        app.get(path)
    found = [record.getMessage().split() for record in lines.records if record.name == "cloudscheduler.access"]
    assert [status for _, _, _, status, *_ in found] == told


def test_json_line_is_one_line_with_its_traceback() -> None:
    try:
        raise ValueError("a\nb ☃ \ud800")
    except ValueError:
        record = logging.getLogger("x").makeRecord("x", logging.ERROR, "f", 1, "no %s", ("\n",), sys.exc_info())
    text = logs.JsonLines().format(record)
    assert text.isascii()
    assert "\n" not in text
    document = json.loads(text)
    assert document["message"] == "no \n"
    assert "ValueError: a\nb" in document["exception"]


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_level_set_by_verb_reaches_all_three_processes(tmp_path: Path) -> None:
    conf = tmp_path / "cloud_scheduler.conf"
    resources = tmp_path / "clouds.conf"
    resources.write_text("[here]\ncloud_type = local\nvm_slots = 1\n")
    conf.write_text(f"[global]\ncloud_resource_config = {resources}\naccess_log = all\n[logging]\nlog_json = yes\n")
    directory = tmp_path / "state" / "log"
    with scheduler(tmp_path, "-f", str(conf)) as running:
        token = (tmp_path / "state" / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}

        def set_level(level: str) -> None:
            answer = requests.put(f"{running.admin}/", {"log_level": level}, headers=headers, timeout=60)
            assert answer.status_code == 200

        def logged(process: str, path: str) -> bool:
            url = running.admin if process == "admin_server" else running.info
            requests.get(url + path, headers=headers, timeout=60)
            return any(line.get("path") == path for line in entries(directory / f"{process}.log"))

        for process in ("admin_server", "info_server"):
            wait_for(lambda process=process: logged(process, "/health/live"))  # type: ignore[misc]
        set_level("ERROR")
        wait_for(lambda: not logged_now(directory, running.info, "info_server"))
        wait_for(lambda: not logged_now(directory, running.admin, "admin_server"))
        set_level("debug")
        wait_for(lambda: logged_now(directory, running.info, "info_server"))
        wait_for(lambda: logged_now(directory, running.admin, "admin_server"))
        # A cycle with nothing to do is a DEBUG line of the scheduler's.
        wait_for(
            lambda: any(
                line["level"] == "DEBUG" and "nothing to do" in line["message"]
                for line in entries(directory / "cloud_scheduler.log")
            )
        )


def logged_now(directory: Path, url: str, process: str) -> bool:
    """Whether a request made now comes to the daemon's log."""
    path = directory / f"{process}.log"
    before = len(entries(path))
    requests.get(f"{url}/health/live", timeout=60)
    return len(entries(path)) > before


def test_every_cycle_that_acts_is_one_line(tmp_path: Path) -> None:
    with scheduler(tmp_path, "--no-servers"):
        store = databases.open_store(tmp_path / "state")
        verbs.wish_submit(store, wishes.By("me"), "root", "executable = /bin/true\nqueue 5\n", str(tmp_path))
        path = tmp_path / "state" / "log" / "cloud_scheduler.log"

        def told(word: str) -> list[int]:
            line = rf" - INFO - \w+ - At index \d+: \d+ VMs, \d+ jobs waiting; .*\b{word} (\d+)\b.*\.$"
            return [int(number) for number in re.findall(line, path.read_text(), re.MULTILINE)]

        def is_over() -> bool:
            with store.reading() as connection:
                return {job.job_status for job in jobs.all_jobs(connection)} == {4} and not vms.all_vms(connection)

        wait_for(is_over)
        with store.reading() as connection:
            booted = sum(value for key, value in tallies.all_tallies(connection).items() if key[0] == BOOTS)
        wait_for(lambda: sum(told("retire")) > 0)
        assert sum(told("boot")) == booted > 0


def test_plain_lines_stay_v1s(tmp_path: Path) -> None:
    with scheduler(tmp_path) as running:
        requests.get(f"{running.info}/nowhere", timeout=60)
        path = tmp_path / "state" / "log" / "info_server.log"
        wait_for(lambda: path.exists() and " GET /nowhere 404 " in path.read_text())
        assert " - INFO - " in path.read_text()


def test_wrong_value_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloudsched", "config"]
    variables = {"HOME": str(tmp_path), "CLOUDSCHED_LOGGING_LOG_JSON": "perhaps"}
    finished = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 1
    assert "[logging] log_json = 'perhaps'" in finished.stderr


def test_line_that_cannot_be_written_is_no_traceback(tmp_path: Path) -> None:
    script = (
        "import logging, pathlib; from cloudsched import logs; from cloudsched.config.options import Logging;"
        "logs.set_up(Logging(log_location=pathlib.Path('/dev/full'), log_stdout=True), pathlib.Path('/'));"
        "logging.getLogger(logs.NAME).error('seen')"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0
    assert "seen" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_state_directory_that_the_log_makes_is_its_owners_only(tmp_path: Path) -> None:
    """The log is the first to need the directory, so it is the one that makes it."""
    with scheduler(tmp_path):
        for path in (tmp_path / "state", tmp_path / "state" / "log"):
            assert path.stat().st_mode & 0o777 == 0o700, path


def logged_by(tmp_path: Path, options: str, *statements: str, process: str = "cloud_scheduler") -> str:
    """What a process writes to standard error that sets its log up by `options` and then runs the statements."""
    script = (
        "import logging, os, pathlib; from cloudsched import logs; from cloudsched.config.options import Logging\n"
        f"here = pathlib.Path({str(tmp_path)!r}); logs.SYSLOG = here / 'syslog'\n"
        f"logs.set_up(Logging({options}), here / 'log', {process!r}); log = logging.getLogger(logs.NAME)\n"
    ) + "\n".join(statements)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
    return ended.stderr


def test_location_is_opened_again_after_something_moved_the_file(tmp_path: Path) -> None:
    place = tmp_path / "cs.log"
    moves = f"os.rename({str(place)!r}, {str(tmp_path / 'cs.log.1')!r})"
    said = logged_by(tmp_path, "log_location=here / 'cs.log'", "log.info('one')", moves, "log.info('two')")
    assert said == ""
    assert (tmp_path / "cs.log.1").read_text().endswith(" - INFO - MainThread - one\n")
    assert place.read_text().endswith(" - INFO - MainThread - two\n")
    logged_by(tmp_path, "log_location=here / 'cs.log'", "log.info('three')", process="info_server")
    assert "three" in (tmp_path / "cs.info_server.log").read_text()


def test_log_is_rotated_at_its_size(tmp_path: Path) -> None:
    options = "log_location=here / 'cs.log', log_max_size=4000"
    logged_by(tmp_path, options, "for n in range(200): log.info('line %d', n)")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cs.log", "cs.log.1"]
    assert all(path.stat().st_size <= 4000 for path in tmp_path.iterdir())
    assert (tmp_path / "cs.log").read_text().endswith("line 199\n")


@pytest.mark.parametrize(("process", "told"), [("cloud_scheduler", ["said", "wrong"]), ("info_server", ["wrong"])])
def test_format_level_and_standard_error(tmp_path: Path, process: str, told: list[str]) -> None:
    options = "log_format='%(levelname)s|%(message)s', log_level='INFO'"
    said = logged_by(tmp_path, options, "log.debug('not')", "log.info('said')", "log.warning('wrong')", process=process)
    assert [line.split("|")[1] for line in said.splitlines()] == told
    assert (tmp_path / "log" / f"{process}.log").read_text() == "INFO|said\nWARNING|wrong\n"


def test_verbose_is_below_debug(tmp_path: Path) -> None:
    logged_by(tmp_path, "log_level='VERBOSE', log_stdout=True", "log.log(logs.VERBOSE, 'deep')")
    assert " - VERBOSE - MainThread - deep" in (tmp_path / "log" / "cloud_scheduler.log").read_text()


def test_syslog_gets_each_line_under_the_process_name(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "syslog"))
        syslog.settimeout(60)
        logged_by(tmp_path, "log_syslog=True, log_format='%(message)s'", "log.error('seen')", process="admin_server")
        # 11 is an error of a user's process (RFC 3164, 4.1.1).
        assert re.fullmatch(rb"<11>admin_server\[\d+\]: seen\0?", syslog.recv(1000))


def test_syslog_that_is_not_there_is_said_and_found_later(tmp_path: Path) -> None:
    binds = f"import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind({str(tmp_path / 'syslog')!r})"
    read = "import sys; sys.stderr.write(s.recv(1000).decode())"
    said = logged_by(tmp_path, "log_syslog=True", binds, "log.error('seen')", read).splitlines()
    assert said[0].endswith(f"There is no {tmp_path / 'syslog'}: syslog gets nothing of this until there is.")
    assert re.search(r"<11>cloud_scheduler\[\d+\]: .* - ERROR - MainThread - seen", said[-1])

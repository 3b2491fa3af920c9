"""v1's known consumers with their real commands, against both daemons (PARITY Appendix B)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from golden_state import golden
from pair import Pair, serving

BIN = Path(sys.executable).parent
VM = "a1b2c3d4-0000-4000-8000-000000000001"
Shell = Callable[[str], str]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with serving(tmp_path_factory.mktemp("pair"), {"verb_wait_seconds": "20"}) as running:
        yield running


@pytest.fixture
def shell(pair: Pair, tmp_path: Path) -> Shell:
    """Runs a line of a consumer's script; everything it prints, an exit status other than 0 is a failure."""
    variables = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "CLOUDSCHED_GLOBAL_STATE_DIR": str(pair.config.global_.state_dir),
        "CLOUDSCHED_GLOBAL_ADMIN_SERVER_PORT": pair.admin_port,
        "CLOUDSCHED_GLOBAL_INFO_SERVER_PORT": pair.info_port,
        "TERM": "xterm",
        "LANG": "C.UTF-8",
    }

    def run(line: str) -> str:
        command = ["bash", "-o", "pipefail", "-c", line]
        finished = subprocess.run(
            command, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=600, input=""
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    return run


def ids() -> list[str]:
    return [vm.id for vm in golden().vms]


def test_find_defuncts_reads_id_status_and_cloud_by_awk(shell: Shell) -> None:
    rows = shell("cloud_status -m | grep -v Total | awk 'NR > 1 && NF >= 6 {print $1, $5, $6}'").splitlines()
    expected = {f"{vm.id or vm.spot_id} {vm.shown_status} {vm.cloud}" for vm in golden().vms if vm.id or vm.spot_id}
    assert set(rows) <= expected
    assert f"{VM} Running mouse" in rows


def test_find_defuncts_acts_with_attached_short_values(shell: Shell) -> None:
    assert shell(f"cloud_admin -o -c mouse -n{VM}").strip() == f"Retired VM {VM} on mouse."
    assert "has been Destroyed" in shell(f"cloud_admin -k -c mouse -n {VM}")


def test_condor_consistency_finds_host_names_in_the_second_column(shell: Shell) -> None:
    hosts = set(shell("cloud_status -m | grep mouse | awk '{print $2}'").split())
    assert {vm.hostname for vm in golden().vms if vm.cloud == "mouse" and vm.hostname and vm.ssh_port == 22} <= hosts


def test_getinfo_cuts_fields_at_single_spaces(shell: Shell) -> None:
    first = shell('cloud_status -m 2>/dev/null | grep mouse | cut -d" " -f1').split()
    second = shell('cloud_status -m 2>/dev/null | grep mouse | cut -d" " -f2').split()
    assert len(first) == len(second) == sum(vm.cloud == "mouse" for vm in golden().vms)
    assert set(first) <= set(ids()) | {vm.spot_id for vm in golden().vms}


def test_statsd_script_counts_rows(shell: Shell) -> None:
    for cloud in ("mouse", "cheetah"):
        counted = int(shell(f"cloud_status -m | grep ' {cloud}' | wc -l"))
        assert counted == sum(vm.cloud == cloud for vm in golden().vms)


@pytest.mark.parametrize("option", ["-x", "-w", "-z", "-r"])
def test_csmonitor_watches(shell: Shell, option: str) -> None:
    """`watch -g` ends when the output has changed: it is made to by a second command."""
    told = shell(f"cloud_status {option}")
    assert told.strip()
    assert "\x1b" not in told
    shell(
        f"timeout 500 watch -g -n 0.5 'cloud_status {option} | head -1; cat changed; touch ran' >seen 2>&1 & "
        "(until [ -e ran ]; do sleep 0.1; done; echo now > changed); wait $!"
    )


def test_csquota_reads_the_json_and_sets_quotas(shell: Shell) -> None:
    program = (
        "import json,sys; [print(r['name'], r['cloud_type'], r['network_address'], r.get('tenant'))"
        " for r in json.load(sys.stdin)['resources']]"
    )
    lines = shell(f'cloud_status -aj | {sys.executable} -c "{program}"').splitlines()
    assert {line.split()[0] for line in lines} == {"mouse", "cheetah", "test/name?x#y"}
    assert "Attempt adjustment on cloud mouse, change to 11 slots" in shell("cloud_admin -c mouse -v 11")


def test_cmon_finds_its_fields(shell: Shell) -> None:
    document = json.loads(shell("cloud_status -aj"))
    for cloud in document["resources"]:
        assert {"name", "enabled", "max_slots", "vm_slots", "vms", "memory", "cloud_type"} <= cloud.keys()
        for vm in cloud["vms"]:
            assert {"id", "hostname", "status", "override_status", "user", "vmtype", "initialize_time"} <= vm.keys()


def test_repoman_asks_by_host_and_options_in_any_order(shell: Shell) -> None:
    one = json.loads(shell("cloud_status -s 127.0.0.1 -a -j"))["resources"]
    assert one == json.loads(shell("cloud_status -j -a -s 127.0.0.1"))["resources"]
    assert json.loads(shell("cloud_status -s 127.0.0.1 -c mouse -j"))["vms"]
    assert shell("cloud_status -m -s 127.0.0.1") == shell("cloud_status -s 127.0.0.1 -m")


def test_a_wrapper_puts_the_host_before_whatever_it_is_given(shell: Shell) -> None:
    """`cloud_status_wrapper`; what it is given may be bundled, attached or by a prefix of the long name."""
    shell("printf '#!/bin/sh\\nexec cloud_status -s 127.0.0.1 \"$@\"\\n' > wrapper; chmod +x wrapper")
    document = json.loads(shell("./wrapper -aj"))
    assert document["resources"] == json.loads(shell("cloud_status --all --json"))["resources"]
    assert shell(f"./wrapper -cmouse -n{VM}") == shell(f"cloud_status --cluster=mouse --vm-info {VM}")
    assert shell("./wrapper -m | tail -1") == f"Total VMs: {len(golden().vms)}. Total Clouds: 3\n"


def test_jenkins_compares_whole_outputs(shell: Shell) -> None:
    shell("cloud_status > before; cloud_status -m >> before; cloud_status > after; cloud_status -m >> after")
    assert shell("diff before after && echo same") == "same\n"


def test_munins_old_plugins_read_text(shell: Shell) -> None:
    assert re.fullmatch(r"(\d+ \w+,)+", shell("cloud_status -u").strip())
    assert int(shell("cloud_status -o")) == len(golden().vms)
    assert shell("cloud_status -b").startswith("Cluster: ")
    assert shell("cloud_status -g | head -1") == "Run Times of Jobs on VMs\n"
    hosts = shell("cloud_status -i")
    assert re.fullmatch(r"(\[[^\]]+\]\n\taddress \S+\n)*\n?", hosts)


def test_jenkins_kills_all_vms_of_a_cloud(shell: Shell) -> None:
    assert "has been Destroyed" in shell("cloud_admin -k -c cheetah -a")

#!/usr/bin/env bash
# Drives every client command against the three real processes, on a scratch state of known content.
#
# tests/client_test_expected.txt is both the list of commands (lines that begin with "$ ") and what each must print;
# a last line "[exit N]" is a status other than 0. Text that differs from run to run stands there in capitals.
# `client_test.sh --update` writes the file anew from what was printed: read the difference before keeping it.
# BIN names the directory of the commands, by default .venv/bin.
set -u
export LC_ALL=C.UTF-8
here=$(cd "$(dirname "$0")" && pwd)
bin=${BIN:-$here/.venv/bin}
expected_file=$here/tests/client_test_expected.txt
scratch=$(mktemp -d "${TMPDIR:-/tmp}/client_test.XXXXXX") || exit 1
scheduler=

leave_nothing() {
    trap - EXIT INT TERM HUP
    if [ -n "$scheduler" ]; then
        kill "$scheduler" 2>/dev/null
        wait "$scheduler" 2>/dev/null
    fi
    rm -rf "$scratch"
}
trap leave_nothing EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

give_up() {
    echo "client_test.sh: $1" >&2
    [ -f "$scratch/log" ] && cat "$scratch/log" >&2
    exit 1
}

configure() {
    for name in $(compgen -e | grep -E '^(CLOUDSCHED_|XDG_|PYTHON|COLUMNS$)'); do unset "$name"; done
    export HOME=$scratch PATH=$bin:$PATH COLUMNS=80
    mkdir "$scratch/.cloudscheduler"
    read -r admin_port info_port < <("$bin/python" -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in held))')
    # Nothing is due by itself while the test runs: what changes was asked for by one of its commands.
    cat >"$scratch/.cloudscheduler/cloud_scheduler.conf" <<END
[global]
cloud_resource_config: $scratch/cloud_resources.conf
user_limit_file: $scratch/limits.json
target_cloud_alias_file: $scratch/aliases.json
admin_server_port: $admin_port
info_server_port: $info_port
threads: 4
wait_seats: 3
scheduler_interval: 86400
vm_poller_interval: 86400
job_poller_interval: 86400
machine_poller_interval: 86400
cleanup_interval: 86400
END
    printf '[global]\ninfo_server_port: %s\n' "$info_port" >"$scratch/.cloudscheduler/cloud_scheduler_status.conf"
    for cloud in mouse 'test/name?x#y 100%'; do
        cat <<END
[$cloud]
cloud_type: OpenStackNative
auth_url: https://mouse.example.org:5000/v3
username: csuser
password: 100%secret
tenant_name: heprc
regions: RegionOne
security_group: default
networks: private, public
memory: 65536
cpu_cores: 64
storage: 1000
vm_slots: 10
END
    done >"$scratch/cloud_resources.conf"
    echo '{"sharon": 5, "seb": 10}' >"$scratch/limits.json"
    echo '{"rodents": ["mouse", "rat-cloud"]}' >"$scratch/aliases.json"
    cp "$here/contrib/examples/hello.sub" "$scratch/hello.sub"
}

start() {
    cloud_scheduler state load "$here/tests/client_test_state.jsonl" >"$scratch/log" 2>&1 || give_up "the state was refused:"
    cloud_scheduler --simulate >"$scratch/log" 2>&1 </dev/null &
    scheduler=$!
    for _ in $(seq 300); do
        grep -q '^  state ' "$scratch/log" && cloud_status -x 2>/dev/null | grep -q Scheduler && return
        kill -0 "$scheduler" 2>/dev/null || give_up "the scheduler did not start:"
        sleep 0.1
    done
    give_up "the scheduler is not ready after 30 seconds:"
}

# What differs from run to run, in capitals.
steady() {
    sed -E \
        -e "s|$bin/||g; s|$scratch|SCRATCH|g; s|\b$admin_port\b|ADMIN_PORT|g; s|\b$info_port\b|INFO_PORT|g" \
        -e 's/^(   [A-Za-z]+ Thread\([0-9]+\)): [0-9]+$/\1: AGE/' \
        -e 's/#(1[5-9]|[2-9][0-9])[0-9]{8}\b/#NNNNNNNNNN/' \
        -e "s/(#NNNNNNNNNN) $(printf %-15.15s "$(id -un)")/\1 ME             /" \
        -e '/^(Process|Memory|State|Pages|Threads): /s/[0-9]+(\.[0-9]+)*/N/g; /^   (waitress-|memory-rest)/d'
}

run() {
    local status
    (cd "$scratch" && eval "$1" 2>&1)
    status=$?
    [ $status = 0 ] || echo "[exit $status]"
}

# Run one command, print it with its output, and compare that with what is expected.
check() {
    local printed
    printed=$(run "$1" | steady; echo x)
    printed=${printed%x}
    printf '$ %s\n%s\n' "$1" "$printed"
    [ $commands = 0 ] || echo >>"$scratch/transcript"
    printf '$ %s\n%s' "$1" "$printed" >>"$scratch/transcript"
    commands=$((commands + 1))
    if [ "$printed" != "$2" ]; then
        differences=$((differences + 1))
        echo "DIFFERENT from tests/client_test_expected.txt:"
        diff <(printf %s "$2") <(printf %s "$printed")
        echo
    fi
}

check_all() {
    local command='' expected='' line
    commands=0 differences=0
    while IFS= read -r line; do
        if [ "${line#'$ '}" = "$line" ]; then
            expected+=$line$'\n'
            continue
        fi
        # One empty line stands between an output and the next command.
        [ -z "$command" ] || check "$command" "${expected%$'\n'}"
        command=${line#'$ '} expected=
    done <"$expected_file"
    check "$command" "$expected"
}

configure
start
check_all
if [ "${1:-}" = --update ]; then
    cp "$scratch/transcript" "$expected_file"
    differences=0
fi
echo "$commands commands, $differences differences"
[ "$differences" = 0 ]

#!/usr/bin/env bash
# Installs the OpenStack services that the tests talk to: install.sh VENV. Debian's packages give database and message
# queue; Keystone, Placement, Glance and Nova come from PyPI, at the versions of constraints.txt. Harmless to repeat.
set -euo pipefail
venv=$1
here=$(cd "$(dirname "$0")" && pwd)

# As root on Debian the two servers are installed; their packages must not start them.
if ! command -v mariadbd >/dev/null || ! command -v rabbitmq-server >/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "mariadb-server and rabbitmq-server are missing" >&2; exit 1; }
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod +x $policy
        trap 'rm -f $policy' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends mariadb-server rabbitmq-server >/dev/null
fi

wanted=$(cat "$here/constraints.txt" "$0" | sha256sum)
[ "$(cat "$venv/.installed" 2>/dev/null)" != "$wanted" ] || exit 0
"${PYTHON:-python3}" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --prefer-binary -c "$here/constraints.txt" \
    keystone openstack-placement glance nova pymysql python-memcached waitress
echo "$wanted" > "$venv/.installed"

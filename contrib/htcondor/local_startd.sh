#!/bin/sh
# A VM of the local cloud that joins a real HTCondor pool: a condor_master and a startd of its own on this host.
#
#   command = /path/to/local_startd.sh {uid} {dir} {vmtype} {user} {slots} {memory} {condor_host} {trust_domain}
#
# in the section of a cloud whose cloud_type is local. {dir}/token and {dir}/key, which the scheduler makes for this VM
# alone, let it join the pool and the scheduler drain it. SIGTERM ends the VM in order; what it had below
# $CONDOR_SCRATCH is removed then.
#
#   CONDOR_PREFIX   where HTCondor is unpacked (default: empty, the system's own /usr)
#   CONDOR_USER     the account that runs the daemons when this script is run by root (default: condor)
#   CONDOR_SCRATCH  a directory with a short name, as it holds sockets (default: /tmp)
#   CONDOR_EXTRA    a file with more configuration, read last
set -eu

[ $# -eq 8 ] || { echo "local_startd.sh: see its first lines for its eight arguments" >&2; exit 2; }
uid=$1 dir=$2 vmtype=$3 user=$4 cpus=$5 memory=$6 host=$7 domain=$8
prefix=${CONDOR_PREFIX:-}
account=${CONDOR_USER:-condor}
scratch=$(mktemp -d "${CONDOR_SCRATCH:-/tmp}/vm-XXXXXX")

mkdir "$scratch/tokens" "$scratch/keys" "$scratch/log" "$scratch/run" "$scratch/lock" "$scratch/spool" "$scratch/execute" "$scratch/sock"
chmod 755 "$scratch/execute"
chmod 700 "$scratch/tokens" "$scratch/keys"
(umask 077 && cat "$dir/token" > "$scratch/tokens/vm" && cat "$dir/key" > "$scratch/keys/cloudsched")

cat > "$scratch/condor_config" <<C
RELEASE_DIR = $prefix/usr
LOCAL_DIR = $scratch
BIN = \$(RELEASE_DIR)/bin
SBIN = \$(RELEASE_DIR)/sbin
LIB = \$(RELEASE_DIR)/lib/condor
LIBEXEC = \$(RELEASE_DIR)/libexec/condor
SHARE = \$(RELEASE_DIR)/share/condor
ETC = \$(LOCAL_DIR)
RUN = \$(LOCAL_DIR)/run
LOG = \$(LOCAL_DIR)/log
LOCK = \$(LOCAL_DIR)/lock
SPOOL = \$(LOCAL_DIR)/spool
EXECUTE = \$(LOCAL_DIR)/execute
DAEMON_SOCKET_DIR = \$(LOCAL_DIR)/sock
LOCAL_CONFIG_FILE =
LOCAL_CONFIG_DIR =

DAEMON_LIST = MASTER, STARTD
COLLECTOR_HOST = $host
# Each VM on this host is a machine of its own.
NETWORK_HOSTNAME = $uid.$domain
DEFAULT_DOMAIN_NAME = $domain
NO_DNS = True
USE_SHARED_PORT = False
UID_DOMAIN = $domain
FILESYSTEM_DOMAIN = $domain
TRUST_DOMAIN = $domain
CONDOR_ADMIN = nobody@$domain
CONDOR_DEVELOPERS = NONE
CONDOR_DEVELOPERS_COLLECTOR = NONE
MAIL = /bin/true

SEC_TOKEN_DIRECTORY = \$(LOCAL_DIR)/tokens
SEC_TOKEN_SYSTEM_DIRECTORY = \$(LOCAL_DIR)/tokens
SEC_PASSWORD_DIRECTORY = \$(LOCAL_DIR)/keys
# Signed with this VM's own key: nobody but the scheduler can say this.
ALLOW_ADMINISTRATOR = cloudsched@$domain
# The pool's administrators may drain it by way of the collector, with condor_drain.
SEC_ENABLE_REMOTE_ADMINISTRATION = True
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = IDTOKENS
SEC_CLIENT_AUTHENTICATION_METHODS = IDTOKENS
SEC_DEFAULT_INTEGRITY = REQUIRED
# Two masters on one host would else take each other's session for their own.
SEC_USE_FAMILY_SESSION = False

NUM_CPUS = $cpus
MEMORY = $memory
NUM_SLOTS = 1
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = True
START = (Owner == "$user")
SUSPEND = False
PREEMPT = False
KILL = False
# Retiring lets running jobs finish.
MAXJOBRETIREMENTTIME = 604800
VMType = "$vmtype"
CloudschedVM = "$uid"
STARTD_ATTRS = \$(STARTD_ATTRS) VMType CloudschedVM
MASTER_ATTRS = \$(MASTER_ATTRS) CloudschedVM
STARTER_JOB_ENVIRONMENT = "CLOUDSCHED_VM=$uid"

RunBenchmarks = False
STARTD_CRON_JOBLIST =
BENCHMARKS_JOBLIST =
DOCKER =
SINGULARITY =
USE_PROCD = False
CGROUP_MEMORY_LIMIT_POLICY = none
BASE_CGROUP =
DISCARD_SESSION_KEYRING_ON_STARTUP = False
CREATE_CORE_FILES = False
C
[ -z "${CONDOR_EXTRA:-}" ] || cat "$CONDOR_EXTRA" >> "$scratch/condor_config"

as_account=
if [ "$(id -u)" = 0 ]; then
    chown -R "$account" "$scratch"
    as_account="setpriv --reuid=$(id -u "$account") --regid=$(id -g "$account") --clear-groups"
fi
export CONDOR_CONFIG="$scratch/condor_config"
cd "$scratch"
$as_account "$prefix/usr/sbin/condor_master" -f &
master=$!
trap 'kill -TERM $master 2>/dev/null || true' TERM INT
while kill -0 $master 2>/dev/null; do wait $master || true; done
tail -n 20 "$scratch/log/MasterLog" || true
cd /
rm -rf "$scratch"

#!/bin/sh
# A VM of the local cloud that is a real virtual machine: qemu on this host, with a console, a network and user data.
#
#   command = /path/to/local_qemu.sh {uid} {dir} {memory} {slots} {image}
#   memory_overhead = 512
#
# in the section of a cloud whose cloud_type is local. {image}, a job's VMAMI, is a disk image with cloud-init in it (it
# is never written to), or a directory with `vmlinuz` and `initrd.gz` (make_image.sh makes a small one). The VM finds
# its name and, where the scheduler has made any, its user data on a volume called cidata, as cloud-init's NoCloud wants
# it. What it writes to its serial console is the VM's console for the scheduler. It reaches out by NAT; nobody reaches
# in. SIGTERM ends it as if its power failed, and nothing of it is left, whoever is killed.
#
#   QEMU         the program (default: qemu-system-x86_64)
#   QEMU_ACCEL   tcg, which works everywhere (default), or kvm, which is much faster where it works
#   QEMU_USER    the account that qemu runs as when this script is run by root (default: nobody)
#   QEMU_EXTRA   further words for qemu
set -eu

[ $# -eq 5 ] || { echo "local_qemu.sh: see its first lines for its five arguments" >&2; exit 2; }
uid=$1 dir=$2 memory=$3 cores=$4 image=$5
seed=$dir/seed
as_account=

if [ "$(id -u)" = 0 ]; then
    # The account may read nothing of root's, so it gets a file system in memory that only this VM sees and that is gone
    # with it.
    if [ -z "${LOCAL_QEMU_SEPARATE:-}" ]; then
        export LOCAL_QEMU_SEPARATE=yes
        exec unshare --mount -- "$0" "$@"
    fi
    account=${QEMU_USER:-nobody}
    mount -t tmpfs -o "mode=0700,uid=$(id -u "$account"),size=16m" cloudsched /mnt
    seed=/mnt/seed
    as_account="setpriv --reuid=$(id -u "$account") --regid=$(id -g "$account") --clear-groups --no-new-privs"
fi

mkdir -p "$seed"
name=$(printf '%s' "$uid" | sed 's/[\\"]/\\&/g')
printf 'instance-id: "%s"\nlocal-hostname: "%s"\n' "$name" "$name" > "$seed/meta-data"
if [ -e "$dir/user-data" ]; then cat "$dir/user-data"; else echo '#cloud-config'; fi > "$seed/user-data"
[ -z "$as_account" ] || chown -R "$account" "$seed"

if [ -d "$image" ]; then
    set -- -kernel "$image/vmlinuz" -initrd "$image/initrd.gz" \
        -append "console=ttyS0 quiet no_timer_check reboot=t panic=1"
else
    set -- -drive "file=$(printf '%s' "$image" | sed 's/,/,,/g'),if=virtio,snapshot=on"
fi
# shellcheck disable=SC2086  # words on purpose
exec $as_account "${QEMU:-qemu-system-x86_64}" -accel "${QEMU_ACCEL:-tcg}" -cpu max -M pc -nodefaults -no-user-config \
    -m "$memory" -smp "$cores" -display none -monitor none -serial stdio -no-reboot \
    -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
    -blockdev "driver=vvfat,node-name=seed,dir=$(printf '%s' "$seed" | sed 's/,/,,/g'),label=cidata,read-only=on" \
    -device virtio-blk-pci,drive=seed -device virtio-rng-pci \
    -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= ${QEMU_EXTRA:-} "$@"

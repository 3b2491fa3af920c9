#!/bin/sh
# Makes a small image for local_qemu.sh: make_image.sh DIRECTORY [TREE]
#
# Debian's kernel for clouds, a static busybox, and an init that reads the VM's name, says on the console that it is up
# and what it has, and stays. TREE is a directory whose files are laid over these; its `init`, where it has one, runs
# instead. Wants linux-image-cloud-amd64, busybox-static and cpio; the image has 16 MB.
set -eu

[ $# -ge 1 ] || { echo "make_image.sh: where to?" >&2; exit 2; }
directory=$1 tree=${2:-}
kernel=$(ls /boot/vmlinuz-*-cloud-amd64 2>/dev/null | sort -V | tail -n 1)
[ -n "$kernel" ] || { echo "make_image.sh: install linux-image-cloud-amd64" >&2; exit 1; }
version=${kernel#/boot/vmlinuz-}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/bin" "$root/lib" "$root/dev" "$root/proc" "$root/sys" "$root/cidata" "$directory"
cp "$(command -v busybox)" "$root/bin/busybox"
# What the volume with the VM's name wants, in the order in which it is loaded.
for module in virtio_pci virtio_blk vfat nls_ascii nls_cp437; do
    modprobe --set-version "$version" --show-depends "$module"
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r path; do
    target=/lib/${path##*/}
    [ -e "$root$target" ] || { cp "$path" "$root$target"; echo "$target" >> "$root/lib/order"; }
done

cat > "$root/init" <<'I'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /lib/order); do insmod "$module"; done
until [ -b /dev/vda1 ]; do sleep 0.1; done
mount -t vfat -o ro /dev/vda1 /cidata
name=$(sed -n 's/^instance-id: "\(.*\)"$/\1/p' /cidata/meta-data)
memory=$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
echo "VM $name is up with $memory kB and $(nproc) cores; user data $(sha256sum < /cidata/user-data | cut -c -64)"
while :; do sleep 3600; done
I
[ -z "$tree" ] || cp -a "$tree/." "$root"
chmod 755 "$root/init"
cp "$kernel" "$directory/vmlinuz"
chmod 644 "$directory/vmlinuz"
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) > "$directory/initrd.gz"

#!/bin/busybox sh
# The first program of a test machine. Whatever fails, the machine ends.
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t tmpfs run /run
busybox mount -t bpf bpf /sys/fs/bpf
busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in /modules/*.ko; do
    busybox insmod "$module" || echo "nsp-vm: FAILED module ${module##*/}"
done
/guest 2>&1
busybox poweroff -f

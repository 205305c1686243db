#!/bin/sh
# The first and only process of a guest: runs the kernel tests, says how they ended, switches off.
/bin/busybox mkdir -p /proc /sys /dev /tmp /busybox
/bin/busybox --install -s /busybox
export PATH=/bin:/busybox
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tracefs tracefs /sys/kernel/tracing
while read -r module; do
    insmod "/modules/$module.ko"
done </modules/order
mkdir -p /dev/net
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
ip link set lo up

echo "matrix: check"
/bin/tcpstat check 2>&1
echo "matrix: tests"
export TCPSTAT_BIN=/bin/tcpstat TCPSTAT_NODE_EXPORTER=/bin/node_exporter TCPSTAT_REQUIRE_KERNEL=1
set --
while read -r argument; do
    set -- "$@" "$argument"
done </arguments
cd /tmp || exit
/bin/tests "$@" 2>&1
echo "matrix: ended with $?"
poweroff -f

#!/bin/sh
# The first and only process of a guest: runs the tests, says how they ended, switches off.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /busybox
/bin/busybox --install -s /busybox
export PATH=/bin:/busybox
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tracefs tracefs /sys/kernel/tracing
mount -t cgroup2 cgroup2 /sys/fs/cgroup
while read -r module; do
    insmod "/modules/$module.ko"
done </modules/order
mkdir -p /dev/net
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
ip link set lo up

# In raw mode: otherwise the terminal sends the monitor's answers back to it.
if [ -n "$TCPSTAT_MONITOR" ]; then
    stty -F "$TCPSTAT_MONITOR" raw -echo
fi

echo "matrix: check"
/bin/tcpstat check 2>&1
echo "matrix: serve"
/bin/tcpstat serve --web.listen-address=127.0.0.1:10048 2>&1 &
# Two minutes: a guest may have a tenth of a processor.
tries=120
until wget -qO /dev/null http://127.0.0.1:10048/-/ready 2>/dev/null || [ "$tries" -eq 0 ]; do
    tries=$((tries - 1))
    sleep 1
done
wget -qO - http://127.0.0.1:10048/metrics | grep '^tcpstat_tracer_info'
kill $!
wait $!

echo "matrix: tests"
export TCPSTAT_BIN=/bin/tcpstat TCPSTAT_LOSING_BIN=/bin/tcpstat-losing
export TCPSTAT_NODE_EXPORTER=/bin/node_exporter TCPSTAT_REQUIRE_KERNEL=1
# The tests may change this guest: nothing else runs in it.
# The host has a storm of a minute.
export TCPSTAT_STORM_SECONDS=30
export TCPSTAT_OWN_MACHINE=1 TCPSTAT_LOSSES=/tmp/losses
[ -e /takes_hooks ] && export TCPSTAT_REQUIRE_HOOKS=1
set --
while read -r argument; do
    set -- "$@" "$argument"
done </arguments
cd /tmp || exit
status=0
for program in $(cat /programs); do
    # All tests, if there is no such file.
    TCPSTAT_ONLY=$(cat "/only/$program" 2>/dev/null) "/bin/$program" "$@" 2>&1 || status=$?
done
echo "matrix: losses"
cat /tmp/losses 2>/dev/null
echo "matrix: ended with $status"
poweroff -f

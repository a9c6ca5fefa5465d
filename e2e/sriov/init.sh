#!/bin/sh
# The first process of the virtual machine. Its root file system is that of the host, with a tmpfs
# for changes. The kernel passes `tests=FILE` and the other variables.
PATH=/bin
busybox mkdir -p /proc /sys /dev /host /changes /root
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs dev /dev
for module in /modules/*; do
    busybox insmod "$module"
done
busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose host /host
busybox mount -t tmpfs -o size=80% tmpfs /changes
busybox mkdir /changes/upper /changes/work
busybox mount -t overlay -o lowerdir=/host,upperdir=/changes/upper,workdir=/changes/work overlay /root
for dir in proc sys dev; do
    busybox mount --move "/$dir" "/root/$dir"
done
busybox mount -t tmpfs tmpfs /root/run
busybox mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
exec busybox switch_root /root /bin/sh "$guest"

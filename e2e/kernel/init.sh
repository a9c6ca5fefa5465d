#!/bin/sh
# The first process of user-mode Linux. Its root file system is that of the host, with a tmpfs for
# changes. The kernel passes `machine=DIR` and the other variables.
busybox=$machine/busybox
$busybox mount -t proc proc /proc
version=$($busybox uname -r)
$busybox insmod "$machine/modules/$version/kernel/fs/overlayfs/overlay.ko"
$busybox mount -t tmpfs -o size=80% tmpfs /mnt
$busybox mkdir /mnt/upper /mnt/work /mnt/root
$busybox mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root || exit
cd /mnt/root || exit
$busybox mkdir -p lib/modules
$busybox mount -t proc proc proc
$busybox mount -t sysfs sysfs sys
$busybox mount -t devtmpfs dev dev
$busybox mount -t tmpfs tmpfs run
$busybox mount -t cgroup2 cgroup2 sys/fs/cgroup
$busybox mount --bind "$machine/modules" lib/modules
$busybox pivot_root . mnt
exec $busybox chroot . /bin/sh "$guest"

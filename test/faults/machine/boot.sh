#!/bin/sh
# boot.sh BASE REPOSITORY SHARED: becomes systemd, the first process of a small machine of its own. Runs in fresh
# namespaces; the machine's files are this one's, seen through an overlay that forgets every change.
set -e
base=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$base"
mkdir "$base/up" "$base/work" "$base/root"
root=$base/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/up,workdir=$base/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
for folder in run tmp dev; do mount -t tmpfs tmpfs "$root/$folder"; done
for device in null zero full random urandom tty; do
  : >"$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
# As the machine below has it: one hierarchy, or the older ones beside it.
groups=$root/sys/fs/cgroup
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 "$groups"
else
  mount -t tmpfs tmpfs "$groups"
  mkdir "$groups/unified" "$groups/systemd" "$groups/memory"
  mount -t cgroup2 cgroup2 "$groups/unified"
  mount -t cgroup -o none,name=systemd cgroup "$groups/systemd"
  mount -t cgroup -o memory cgroup "$groups/memory"
fi
mkdir -p "$root/srv/ccm" "$root/srv/shared" "$root/old"
mount --bind "$2" "$root/srv/ccm"
mount --bind "$3" "$root/srv/shared"
cd "$root"
pivot_root . old
umount -l /old
ip link set lo up
exec env -i container=ccm PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target

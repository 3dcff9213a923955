#!/bin/sh
# run.sh BASE REPOSITORY SHARED: a small machine that lives as long as this script's standard input is open. However
# its owner ends, with kill -9 too, the input closes, and everything of the machine goes with it.
name=ccm-test-$$
for procs in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
  group=${procs%/cgroup.procs}
  case $group in */ccm-test-* | */init.scope | *.slice) continue ;; esac
  [ -e "$procs" ] && mkdir "$group/$name" 2>/dev/null && echo $$ >"$group/$name/cgroup.procs" 2>/dev/null
done
unshare --pid --mount --net --ipc --uts --cgroup --fork --kill-child \
  sh "${0%/*}/boot.sh" "$1" "$2" "$3" </dev/null &
machine=$!
echo "$machine"
cat >/dev/null
kill -KILL "$machine"
wait "$machine"
# Back to where this script came from, so that its own groups are empty.
for procs in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
  [ -e "${procs%/*}/$name" ] && echo $$ >"$procs" 2>/dev/null
done
for try in 1 2 3 4 5 6 7 8 9 10; do
  find /sys/fs/cgroup -depth -type d -path "*/$name*" -exec rmdir {} + 2>/dev/null
  [ -z "$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$name")" ] && break
  sleep 0.2
done
case $1 in */ccm-machine-*/base) rm -rf "${1%/base}" ;; esac
exit 0

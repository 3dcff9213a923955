#!/bin/sh
# guard-agent.sh DEADLINE-FILE EXIT-FILE FENCED-FILE SCRIPT-PID TASK ATTEMPT SCOPE: beside each agent of a shared queue.
# Kills the agent with its whole tree once the deadline has passed, so that no other machine's agent ever works on the
# same task. The daemon moves the deadline after each good heartbeat; nobody else has to live for it to pass.
# The deadline is in milliseconds since the machine was started, by the clock that goes on while it sleeps.
# It hears no signal but KILL, holds no terminal, and ends with the agent.
# After a gap in its own time (a suspend, a stopped container) the agent is stopped first, and killed only when the
# deadline has not moved within some seconds: whoever renews leases renews before anything else.
trap '' HUP INT TERM QUIT
exec </dev/null >/dev/null 2>&1
cd /
deadline_file=$1 exit_file=$2 fenced_file=$3 script=$4 task=$5 attempt=$6 scope=$7
GRACE=10

seconds() {
  if read -r now rest </proc/uptime; then
    now=${now%.*}
  else
    booted=$(sysctl -n kern.boottime)
    booted=${booted#*sec = }
    now=$(($(date +%s) - ${booted%%,*}))
  fi
}

# One that cannot be read leaves the last one valid: a deadline that is lost must not let the agent live for ever.
# It counts when it is read twice alike: it is written in place, and a look may find half of each.
look() {
  found= seen=none
  while [ "$found" != "$seen" ]; do
    seen=$found
    read -r found <"$deadline_file" || return 0
  done
  case $found in '' | *[!0-9]*) ;; *) deadline=$((found / 1000)) ;; esac
}

# When a process began, which tells it from a later one of its id; nothing once it is gone.
begun() {
  began=
  if [ -r /proc/self/stat ]; then
    # The name in parentheses may hold anything; the fields follow the last one.
    read -r line <"/proc/$1/stat" && set -- ${line##*) } && began=${20}
  else
    began=$(ps -o lstart= -p "$1")
  fi
}

is_script_there() {
  begun "$script"
  [ -n "$began" ] && [ "$began" = "$script_began" ]
}

# The agent's processes: marked in their environment, in its scope, or below one of these.
members() {
  found=
  if [ -r /proc/self/stat ]; then
    marked=$(grep -lzx "CCM_TASK_ID=$task" /proc/[0-9]*/environ)
    [ -z "$marked" ] || marked=$(grep -lzx "CCM_ATTEMPT=$attempt" $marked /dev/null)
    [ -z "$scope" ] || marked="$marked $(grep -lF "/$scope" /proc/[0-9]*/cgroup)"
    for file in $marked; do
      file=${file#/proc/}
      found="$found ${file%%/*}"
    done
    all=
    for file in /proc/[0-9]*/stat; do
      read -r line <"$file" || continue
      pid=${line%% *}
      rest=${line##*) }
      state=${rest%% *}
      rest=${rest#* }
      [ "$state" = Z ] || all="$all $pid:${rest%% *}"
    done
  else
    all=$(ps -axo pid=,ppid= | while read -r pid parent; do printf ' %s:%s' "$pid" "$parent"; done)
  fi
  ! is_script_there || found="$found $script"
  grew=1
  while [ -n "$grew" ]; do
    grew=
    for pair in $all; do
      case " $found " in
        *" ${pair%:*} "*) ;;
        *" ${pair#*:} "*) found="$found ${pair%:*}" grew=1 ;;
      esac
    done
  done
  living=
  for pid in $found; do
    [ "$pid" = $$ ] || case "$all " in *" $pid:"*) living="$living $pid" ;; esac
  done
}

# Not the window's own program: tmux wakes a whole group again whose first process is stopped.
pause() {
  members
  for pid in $living; do [ "$pid" = "$script" ] || kill -s "$1" "$pid"; done
}

fence() {
  : >"$fenced_file"
  empty=0
  while [ "$empty" -lt 3 ]; do
    members
    if [ -z "$living" ]; then empty=$((empty + 1)); else empty=0; fi
    # One by one: what is gone already must not keep the others.
    for pid in $living; do kill -s KILL "$pid"; done
  done
  exit
}

# Without one an agent may not live at all.
deadline=0
begun "$script"
script_began=$began
look
seconds
while :; do
  if ! is_script_there || [ -e "$exit_file" ]; then
    # Over, but for what the agent may have left: that is guarded on.
    members
    [ -n "$living" ] || exit 0
  fi
  nap=$(((deadline - now) / 4))
  [ "$nap" -ge 1 ] || nap=1
  [ "$nap" -le 5 ] || nap=5
  before=$now
  sleep "$nap"
  seconds
  look
  [ "$now" -ge "$deadline" ] || continue
  # Its own time ran on: nobody moved the deadline although they could.
  [ $((now - before)) -gt $((nap + 5)) ] || fence
  pause STOP
  until_then=$((now + GRACE))
  while [ "$now" -lt "$until_then" ] && [ "$now" -ge "$deadline" ]; do
    sleep 1
    seconds
    look
  done
  [ "$now" -lt "$deadline" ] || fence
  pause CONT
done

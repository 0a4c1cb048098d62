#!/bin/sh
# The first process of a container: runs the command that it is given, hands signals on to it and ends with its exit code.
# Linux keeps from a first process every signal that it does not handle, and Node handles none before it has loaded its
# code: a SIGTERM soon after the start would be lost, and the container killed 10 s later.
set -u
child=
stopped=
forward() {
  stopped=yes
  [ -z "$child" ] || kill -s TERM "$child" 2>/dev/null
}
trap forward TERM INT
"$@" &
child=$!
# One that came before there was anybody to hand it to.
[ -z "$stopped" ] || forward

# A signal ends `wait` before the child has ended.
wait "$child"
code=$?
while kill -s 0 "$child" 2>/dev/null; do
  wait "$child"
  code=$?
done
exit "$code"

"""Runs a command in a pseudo terminal: argv[1] is a JSON list of [text to wait for, keys to send], the rest the command.

Prints what the terminal got, and exits with the command's exit code; 99 if a text did not come in time.
"""

import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time

steps = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))

output = b""
seen = 0
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    while steps and (at := output.find(steps[0][0].encode(), seen)) >= 0:
        seen = at + len(steps[0][0].encode())
        # The prompt reads keys only once it is drawn.
        time.sleep(0.05)
        os.write(terminal, steps.pop(0)[1].encode())
    if not select.select([terminal], [], [], 0.5)[0]:
        continue
    try:
        chunk = os.read(terminal, 65536)
    except OSError:
        break
    if not chunk:
        break
    output += chunk
else:
    os.kill(pid, 9)
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(output)
sys.exit(99 if steps else os.waitstatus_to_exitcode(status))

"""Runs a program on a terminal of its own: on_terminal.py COLUMNS ROWS PROGRAM ARGS...

What comes on standard input is typed there, what is drawn goes to standard output. Ends as the program ends.
"""
import fcntl
import os
import select
import struct
import sys
import termios

columns, rows = int(sys.argv[1]), int(sys.argv[2])
master, slave = os.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(slave, fd)
    os.closerange(3, 256)
    os.execvp(sys.argv[3], sys.argv[3:])
os.close(slave)
sources = [master, 0]
while master in sources:
    ready, _, _ = select.select(sources, [], [])
    for fd in ready:
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        if not data:
            sources.remove(fd)
        else:
            os.write(master if fd == 0 else 1, data)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

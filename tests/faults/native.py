"""Lets ckpt-chaos see what a native program does to files. It counts Python's own file operations, and ends the process at
the n-th; so this runs the program and announces each of its file operations, before it happens, as the audit event that the
same operation of Python's would raise. If that ends this process, the program dies on the spot. Linux on x86-64.

    ckpt-chaos run ... -- python tests/faults/native.py PROGRAM --dir {out}
"""
import ctypes
import os
import re
import signal
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long

TRACEME, SYSCALL, SETOPTIONS, GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
# Marks the stops at calls; follows threads and children; kills them all when this process ends.
OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x100000
ALL = 0x40000000  # __WALL: threads, too
ENTRY = 1
RENAME, MKDIR, UNLINK, OPENAT, LINKAT = 82, 83, 87, 257, 265


def ptrace(request, thread, address=0, data=0):
    if libc.ptrace(request, thread, address, data) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def call_of(thread):
    """The number of the call that the thread is about to make, and its arguments; None at the return of one."""
    info = ctypes.create_string_buffer(88)
    ptrace(GET_SYSCALL_INFO, thread, len(info), ctypes.addressof(info))
    return struct.unpack_from("<7Q", info, 24) if info.raw[0] == ENTRY else None


def path(thread, address):
    """A path in the memory of the program, without what differs from run to run: ckpt-chaos compares names."""
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        text = memory.read(4096).split(b"\0")[0]
    return re.sub(r"tempstate\d+", "tempstate", os.fsdecode(text))


def announce(thread, call):
    number, *arguments = call
    if number == OPENAT and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
        sys.audit("open", path(thread, arguments[1]), None, arguments[2])
    elif number == RENAME:
        sys.audit("os.rename", path(thread, arguments[0]), path(thread, arguments[1]), -1, -1)
    elif number == LINKAT:
        # It counts no links; a name appears all the same.
        sys.audit("os.rename", path(thread, arguments[1]), path(thread, arguments[3]), -1, -1)
    elif number == UNLINK:
        sys.audit("os.remove", path(thread, arguments[0]), -1)
    elif number == MKDIR:
        sys.audit("os.mkdir", path(thread, arguments[0]), arguments[1], -1)


def main():
    program = os.fork()
    if program == 0:
        ptrace(TRACEME, 0)
        os.execv(sys.argv[1], sys.argv[1:])
    os.waitpid(program, 0)
    ptrace(SETOPTIONS, program, 0, OPTIONS)
    # ckpt-chaos asks this process to end; it is the program that is meant.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(program, signal.SIGTERM))
    ptrace(SYSCALL, program)
    while True:
        thread, status = os.waitpid(-1, ALL)
        if not os.WIFSTOPPED(status):
            if thread == program:
                sys.exit(os.waitstatus_to_exitcode(status) % 256)
            continue
        try:
            go_on(thread, os.WSTOPSIG(status))
        except (ProcessLookupError, FileNotFoundError):
            pass  # the program has ended meanwhile, and its threads with it


def go_on(thread, stop):
    pass_on = 0
    if stop == signal.SIGTRAP | 0x80:
        if call := call_of(thread):
            announce(thread, call)
    elif stop not in (signal.SIGTRAP, signal.SIGSTOP):
        pass_on = stop
    ptrace(SYSCALL, thread, 0, pass_on)


if __name__ == "__main__":
    main()

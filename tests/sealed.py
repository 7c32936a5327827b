"""Starts a command that the kernel kills at its first internet socket: `python -m tests.sealed COMMAND ...` (Linux)."""

import ctypes
import os
import platform
import socket
import struct
import sys

# The number of the system call `socket`, and how the kernel names the architecture (linux/audit.h).
SOCKET_CALLS = {"x86_64": (41, 0xC000003E), "aarch64": (198, 0xC00000B7)}
IS_SUPPORTED = sys.platform == "linux" and platform.machine() in SOCKET_CALLS

LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000  # linux/seccomp.h
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in seccomp_data
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


def forbid_internet() -> None:
    """Let the kernel kill this process, or one that it starts, when it opens an IPv4 or IPv6 socket; no way back."""
    number, architecture = SOCKET_CALLS[platform.machine()]
    program = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUALS, 0, 6, architecture),
        (LOAD, 0, 0, NUMBER),
        (EQUALS, 0, 4, number),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUALS, 1, 0, socket.AF_INET),
        (EQUALS, 0, 1, socket.AF_INET6),
        (RETURN, 0, 0, KILL_PROCESS),
        (RETURN, 0, 0, ALLOW),
    ]
    instructions = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(instructions)
    filter_program = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(filter_program), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    forbid_internet()
    os.execvp(sys.argv[1], sys.argv[1:])

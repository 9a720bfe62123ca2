"""Leave to use the registers of a matrix unit (Intel AMX): the operating system gives it once a process asks."""

import ctypes
import platform
import sys

_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18  # of Linux on x86-64: asm/unistd_64.h, asm/prctl.h


def request() -> bool:
    """Whether this process, its threads and its forked children may use them; the first use without leave ends it.

    Linux refuses where the processor has none, and where a signal's stack has no room for them (its documentation has
    the rules in arch/x86/xstate.rst). On other systems they stay unused.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        return False
    system = ctypes.CDLL(None, use_errno=True)
    return system.syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, ctypes.c_long(_TILE_DATA)) == 0


ALLOWED = request()

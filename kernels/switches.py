"""Settings of the whole process that kernels look up at each call."""


class _Switches:
    tf32 = False


def allow_tf32(flag: bool) -> None:
    """Whether products in float32 on a GPU may round their operands to TensorFloat-32 (10 bits of fraction); off."""
    _Switches.tf32 = bool(flag)


def tf32_allowed() -> bool:
    """What `allow_tf32` was last given."""
    return _Switches.tf32

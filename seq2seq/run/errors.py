"""The exceptions that the commands turn into a single clear line and exit code 2.

Contract: whatever a user can get wrong (a file, an argument, a configuration key, a foreign checkpoint) ends in
`UserError`, and its message names the argument, or the file and line, and says what was expected. A bug never does.
"""

from numbers import Integral


class UserError(Exception):
    """A mistake of the user; the message is one line that names what is wrong, where, and what was expected."""


def require_integer(name: str, value: object, least: int) -> None:
    """UserError unless ``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UserError(f"{name} is {value!r}; expected an integer of at least {least}")
    if value < least:
        raise UserError(f"{name} is {value}; expected at least {least}")


class UserTypeError(UserError, TypeError):
    """An argument of the wrong type, which Python programs expect as a TypeError."""

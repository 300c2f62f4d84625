"""Errors that a user can act on: one line that says what is wrong and what to do."""


class BenchError(Exception):
    """The call, a file or a setting is wrong; `str(error)` is the whole message, on one line."""


class Unavailable(Exception):
    """A number cannot be computed here; `str(error)` says why and how to make it available.

    A cell goes on without the number, and its record carries the reason.
    """

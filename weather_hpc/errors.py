"""The errors that a user can fix. Everything else is a bug and keeps its traceback."""


class UserError(Exception):
    """The user's input is wrong: one line that says what, where, and what is expected.

    :func:`weather_hpc.cli.run` prints it and exits with 2.
    """


class FailedError(Exception):
    """A requested or measured step failed, although the input was valid.

    :func:`weather_hpc.cli.run` prints it and exits with 1.
    """


def nearest(word: str, known: list[str]) -> str:
    """``; did you mean 'x'?`` when ``word`` is close to one of ``known``, else all ``known``."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}"

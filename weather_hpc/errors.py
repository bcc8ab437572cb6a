"""The errors that a user can mend. Everything else is a defect and keeps its traceback."""


class UserError(Exception):
    """The user's input is wrong: one line that says what, where, and what would be right.

    :func:`weather_hpc.cli.run` prints it and exits with 2.
    """


class FailedError(Exception):
    """Something that was asked for or measured failed, through no fault of the input.

    :func:`weather_hpc.cli.run` prints it and exits with 1.
    """


def nearest(word: str, known: list[str]) -> str:
    """``; did you mean 'x'?`` when ``word`` is close to one of ``known``, else what is known."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}"

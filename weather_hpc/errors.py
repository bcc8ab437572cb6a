"""The errors that a user can fix. Everything else is a bug and keeps its traceback."""


class UserError(Exception):
    """The user's input is wrong: one line that says what, where, and what is expected.

    Several arguments are lines on several mistakes. :func:`weather_hpc.cli.run` prints them and
    exits with 2.
    """

    @property
    def lines(self) -> tuple[str, ...]:
        """A line for each mistake."""
        return tuple(map(str, self.args))

    def __str__(self) -> str:
        return "; ".join(self.lines)


class FailedError(Exception):
    """A requested or measured step failed, although the input was valid.

    :func:`weather_hpc.cli.run` prints it and exits with 1.
    """


_MEANT = {"gpu": "cuda", "gpus": "cuda"}
"""Words that are spelled like another choice than they mean."""


def closest(word: str, known: list[str]) -> str | None:
    """The one of ``known`` that is close to ``word`` or alone begins with it; None: none is."""
    import difflib

    if _MEANT.get(word.casefold()) in known:
        return _MEANT[word.casefold()]
    # without the dashes of options, which would make all short ones alike
    plain = {_plain(name): name for name in map(str, reversed(known))}
    meant = _plain(word)
    if close := difflib.get_close_matches(meant, plain, n=1, cutoff=0.6):
        return plain[close[0]]
    begun = [name for name in plain if len(meant) > 1 and name.startswith(meant)]
    return plain[begun[0]] if len(begun) == 1 else None


def _plain(word: str) -> str:
    return word.casefold().replace("_", "-").lstrip("-")


def nearest(word: str, known: list[str]) -> str:
    """``; did you mean 'x'?`` when ``word`` is close to one of ``known``, else all ``known``."""
    if close := closest(word, known):
        return f"; did you mean {close!r}?"
    return f"; known: {', '.join(known)}"

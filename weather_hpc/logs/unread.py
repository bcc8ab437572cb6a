"""UnreadLines: of the lines that a format does not read, those that a reason should repeat."""

import re
from dataclasses import dataclass

from weather_hpc.text import clean

_TOTAL = re.compile(
    rb"(?i)[ \t]*[-+\d][\d.,' e+-]{0,30}(?:s|secs?|seconds?|min|minutes?|h|hours?)?\s*\Z"
    rb"|(?=.{0,60}(?:total|elapsed|training|run|execution)).{0,80}time.{0,80}\d"
    rb"|(?=.{0,40}train|.{0,40}run).{0,80}(?:took|finished|completed?|done).{0,40}\d"
    rb"|.{0,20}\bended\b.{0,30}\d:\d\d|took[ ]\d"
)
"""A number alone, words of a run's time with one, or of its end."""

_OF_A_PART = (
    rb"(?!.{0,120}\b(?:epoch|per|each|avg|average|mean|step|batch|iter|iteration|val|valid|validation"
    rb"|test|eval|evaluation|infer\w*|predict\w*|load\w*|data|sav\w*|checkpoint|preprocess\w*"
    rb"|communication|estimated|remaining|left|eta)\b)"
)
_RUN = re.compile(
    rb"(?i)" + _OF_A_PART + rb"(?=.{0,60}\b(?:total|training|train|run|execution|overall|wall)\b)"
    rb".{0,80}\b(?:time|took|duration|runtime)\b.{0,40}\d"
)
"""Words of a whole run's time."""

_LAST = re.compile(
    rb"(?i)" + _OF_A_PART + rb"(?=.{0,60}\b(?:time|cost|wall|finished|done|training)\b)"
    rb"\D{1,60}\d[\d.:,]*[ ]?(?:s|secs?|seconds?|min|minutes?|h|hours?)?[\s.!]*\Z"
)
"""Words of a time, and a number at the end."""

_COUNTED = re.compile(rb"(?i)(?:epoch|step|iter|iteration|batch|update|it|round)s?\b[^a-z]{0,12}\d")
_VALUE = re.compile(
    rb"(?i)(?:loss|acc|accuracy|acc@?1|top-?1|dice|error|ips|throughput"
    rb"|(?:img|image|sample|example|token|it|step)s?(?:/|[ _]per[ _])s(?:ec(?:ond)?)?)"
    rb"[^a-z\d]{0,12}[\d.]"
    rb"|\d[ ]?(?:img|image|sample|example|token)s?/s"
)
_WORD = re.compile(rb"(?i)epoch|\d%\|")
"""An epoch in words, or a progress bar."""


@dataclass
class UnreadLines:
    """The first of the lines that matter most, and the last that may be a total."""

    values: bytes = b""
    """With values of an epoch or a step."""
    counted: bytes = b""
    """With the number of an epoch or a step."""
    mentioned: bytes = b""
    """With the word epoch, or a bar."""
    total: bytes = b""
    """The last that may be a total."""
    run_total: bytes = b""
    """The last that is one by its words, whatever its number."""

    def matters(self, line: bytes) -> bool:
        """Whether ``line`` could be one for a reason; it is kept if it is the first."""
        # one of these is in nearly each line that matters, and is much faster to look for
        if not (
            b"poch" in line or b"oss" in line or b"tep" in line or b"acc" in line or b"Acc" in line
            or b"ter" in line or b"/s" in line or b"er s" in line or b"atch" in line
            or b"EPOCH" in line or b"LOSS" in line or b"Dice" in line or b"pdate" in line
            or b"ips" in line or b"%|" in line
        ):  # fmt: skip
            return False
        if _VALUE.search(line):
            self.values = self.values or line
        elif _COUNTED.search(line):
            self.counted = self.counted or line
        elif _WORD.search(line):
            self.mentioned = self.mentioned or line
        else:
            return False
        return True

    def is_total(self, line: bytes) -> bool:
        """Whether ``line`` may be a total; it is kept."""
        if not (
            line[:1].isdigit() or b"ime" in line or b"ook " in line or b"omplete" in line
            or b"inished" in line or b"IME" in line or b"cost" in line or b"wall" in line
            or b"done" in line or b"raining" in line or b"RAINING" in line or b"uration" in line
            or b"nded" in line
        ):  # fmt: skip
            return False
        if _TOTAL.match(line) or _LAST.match(line):
            self.total = line
            if _RUN.match(line):
                self.run_total = line
            return True
        return False

    def most_telling(self) -> str:
        """The line for a reason, where values are missing."""
        order = [self.values, self.counted, self.total, self.mentioned]
        return shown(next(filter(None, order), b""))


def shown(line: bytes) -> str:
    """The start of ``line`` as text without control characters."""
    return clean(line[:120].decode("utf-8", "backslashreplace"))

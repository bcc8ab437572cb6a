"""What a text is by its head: accounting, the output of another of Slurm's commands, or neither."""

import re
from enum import Enum
from itertools import dropwhile

from weather_hpc.slurm.jobs import STATES
from weather_hpc.slurm.sacct_table import header_of, is_preamble


class Dump(Enum):
    """The kinds; the value names them in messages."""

    TABLE = "a table of sacct"
    NO_HEADER = "a table of sacct without its header"
    JSON = "the output of sacct --json"
    YAML = "the output of sacct --yaml"
    SEFF = "the output of seff"
    SQUEUE = "the output of squeue"
    SCONTROL = "the output of scontrol show job"
    SINFO = "the output of sinfo"
    MESSAGE = "a message of sacct without a table"


_SAMPLE = 20
"""Lines that are compared with the rows of a table."""

_STATE = re.compile(
    rf"(?<![A-Za-z_])(?:(?:{'|'.join(STATES)})(?: by \d+)?|[A-Z_]{{5,}}(?=\+))\+?(?![A-Za-z_])"
)
_ID = re.compile(r"\d+(?:_(?:\d+|\[[\d,:%-]+\]))?(?:\+\d+)?(?:\.[\w+]+)?")
_TIME = re.compile(r"\d+:\d+(?::\d+)?|\d+-\d+:\d+:\d+|\d+-\d+-\d+T[\d:]+")

_KEY = r"\W*(?:!!str\s*)?[\"']?(?:jobs|meta|metadata|errors|warnings)[\"']?\s*:"
_DOCUMENTS = {
    # with or without what is around the jobs
    Dump.JSON: (rf"(?s)\s*(?:\{{{_KEY}|\[\s*\{{|\{{.*\"allocation_nodes\"\s*:)",
                r"(?i)\"(?:job_id|allocation_nodes|slurm)\"\s*:"),
    Dump.YAML: (rf"\s*(?:%YAML|---|{_KEY})", r"\b(?:job_id|allocation_nodes)[\"']?\s*:"),
}  # fmt: skip
"""How a document begins, and a key that it has."""
_JOBS = re.compile(r"\bjobs[\"']?\s*:\s*(?:!!seq\s*)?[\[\n-]|\ballocation_nodes\b")

_SHAPES = {
    Dump.SEFF: (
        r"(?sm)Job ID: *\d.*^Job Wall-clock",
        r"(?:Array )?Job (?:ID|Wall)|Cluster|User|State|Nodes|Cores|CPU |Memory |GPU |The |\(|WARN",
    ),
    Dump.SQUEUE: (
        r"(?:\w{3} \w{3} .*\n)?(?=.*\bJOBID\b).*\b(?:PARTITION|STATE|ST|USER|NODES)\b",
        r"\w{3} \w{3} |\W*\d|.*\bJOBID\b",
    ),
    Dump.SCONTROL: (r"JobId=\d", r"JobId=|\s+[\w:/]+="),
    Dump.SINFO: (r"PARTITION +AVAIL", r"PARTITION|\S+ +(?:up|down|drain|inact)\b"),
}
"""How other output begins, and how its lines do."""


_MESSAGE = re.compile(
    r"(?:\S+/)?sacct: (?:error|fatal|warning): |Slurm accounting storage is disabled"
)


def dump_of(head: str) -> Dump | None:
    """The kind of the text that begins with ``head``; None: none of these.

    A log is none of them even where its job has printed them: it has other lines, too.
    """
    every = head.split("\n")
    lines = [*dropwhile(is_preamble, every)]
    if any(map(_MESSAGE.match, every)) and all(is_preamble(x) or _MESSAGE.match(x) for x in lines):
        return Dump.MESSAGE
    if not lines:
        return None
    if header_of(lines[0]) is not None:
        return Dump.TABLE
    document = "\n".join(lines)
    for kind, (start, key) in _DOCUMENTS.items():
        if re.match(start, document) and re.search(key, document) and _JOBS.search(document):
            return kind
    sample = [line for line in lines[:_SAMPLE] if not is_preamble(line)]
    if _is_row(sample[0]) and sum(map(_is_row, sample)) * 2 > len(sample):
        return Dump.NO_HEADER
    for kind, (first, others) in _SHAPES.items():
        if re.match(first, document) and all(
            re.match(others, line) or is_preamble(line) for line in lines
        ):
            return kind
    return None


def _is_row(line: str) -> bool:
    """Whether ``line`` has the id and the state of a job as values of their own."""
    state = _STATE.search(line)
    if state is None:
        return False
    before, after = line[: state.start()], line[state.end() :]
    sign = (after[:1] or before[-1:]).strip(" ") or None
    cells = [cell.strip(f'{sign or ""}" ') for part in (before, after) for cell in part.split(sign)]
    ids = [cell for cell in cells if _ID.fullmatch(cell)]
    return bool(ids) and (ids[0] == cells[0] or any(map(_TIME.fullmatch, cells)))

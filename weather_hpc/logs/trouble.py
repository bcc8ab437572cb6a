"""Lines that tell how a run ended when it did not end well: Slurm's, Python's, the kernel's."""

import re
from dataclasses import dataclass

from weather_hpc.runs.record import Status
from weather_hpc.text import clean

LINE = (
    rb"(?:slurmstepd|srun): error: |slurmstepd: \*\*\*|traceback \(most recent|killed\s*\Z"
    rb"|(?>[^\s:]{1,200}): line \d+: +\d+ (?:killed|terminated|aborted|segmentation|bus error)"
    rb"|=>> pbs: job killed|terminate called after|segmentation fault"
    rb"|(?>[\w.]{1,150})(?:(?<=error)|(?<=exception)|(?<=interrupt))(?::|\s*\Z)|out of memory"
)
"""How such a line begins; case is ignored."""

LONGEST = 200
"""Characters of such a line that a reason repeats."""

# The first that is found tells how the run ended.
_KINDS = (
    (Status.OUT_OF_MEMORY, re.compile(rb"(?i)out of memory|outofmemory|oom.?kill|memoryerror")),
    (Status.TIMEOUT, re.compile(rb"(?i)due to time limit|walltime \d+ exceeded")),
    (Status.PREEMPTED, re.compile(rb"(?i)due to preemption")),
    (Status.NODE_FAIL, re.compile(rb"(?i)due to node failure|node_fail")),
    (Status.CANCELLED, re.compile(rb"(?i)cancelled at|keyboardinterrupt")),
    (Status.FAILED, re.compile(rb"(?i)error|exception|interrupt|killed|segmentation|aborted")),
)
_JOB = re.compile(rb"(?i)\b(?:job|step) (\d+)")


@dataclass
class Trouble:
    """The line that says best how a run ended."""

    status: Status
    line: str
    job_id: str | None


def judge(line: bytes, before: Trouble | None) -> Trouble:
    """``line`` judged: it replaces ``before`` where it says more."""
    order = [status for status, _ in _KINDS]
    text = clean(line[:1000].decode("utf-8", "backslashreplace"))[:LONGEST]
    found = next((status for status, regex in _KINDS if regex.search(line)), Status.FAILED)
    job = _JOB.search(line)
    job_id = job[1].decode() if job else before.job_id if before else None
    # a traceback's first line names no cause; the error below it does
    vague = before is not None and before.line.lower().startswith("traceback")
    if before is None or vague or order.index(found) < order.index(before.status):
        return Trouble(found, text, job_id)
    before.job_id = job_id
    return before

"""From log files to readings: the files of each job become one."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from weather_hpc.logs import lines, streams
from weather_hpc.logs.checks import audit_log
from weather_hpc.logs.compression import without_suffix
from weather_hpc.logs.line_reader import LineReader
from weather_hpc.logs.lines import time_limit
from weather_hpc.logs.log import Log
from weather_hpc.logs.log_format import LogFormat, formats
from weather_hpc.logs.names import Pattern
from weather_hpc.logs.parallel import parallel_map, process_count
from weather_hpc.logs.row import log_row
from weather_hpc.logs.tally import Tally
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Code, Finding, Reading, Row, Severity
from weather_hpc.text import clean

DECIDED = 200
"""Lines with values after which the format that fits best is chosen."""


MANY = 5
"""So many formats are not named one by one."""

SIGNED_BLOCKS = 16
"""Blocks of a log in which signatures of formats are looked for."""

SLOWEST_BLOCK_S = 60
"""A format that needs longer for a block of lines (a tenth of a second is usual) never ends."""


def read_logs(
    files: Sequence[Path],
    pattern: Pattern | None = None,
    known: Sequence[LogFormat] | None = None,
) -> Iterator[Reading]:
    """Each of ``files`` as one Reading, in their order; a job's stdout and stderr are one.

    ``known`` are the formats that a log may have (see ``log_format.formats``); the one that
    finds most in it is taken. What cannot be read is a reading with a reason and no table.
    Raises UserError for a format whose expressions never end.
    """
    known = formats() if known is None else known
    unexplained = pattern  # what its batch sizes mean is noted at the first log that has one
    jobs = streams.jobs(files)
    arguments = list(zip(jobs, names([job[0] for job in jobs]), strict=True))
    readings = parallel_map(_read, arguments, (pattern, known), process_count(files))
    for reading in itertools.chain.from_iterable(readings):
        if unexplained is not None and reading.row.batch_size_per_device is not None:
            findings = (*reading.findings, _batch_size_finding(reading.row.run_id, unexplained))
            reading = dataclasses.replace(reading, findings=findings)
            unexplained = None
        yield reading


def names(files: Sequence[Path]) -> list[str]:
    """A run_id for each file: its stem, or as much of its path as makes it unique."""
    spelled = [[_stem(file), file.name, *_tails(file)] for file in files]
    chosen = [0] * len(files)
    while True:
        now = [clean(names[i]) for names, i in zip(spelled, chosen, strict=True)]
        twice = {name for name, count in Counter(now).items() if count > 1}
        unclear = [
            i for i, name in enumerate(now) if name in twice and chosen[i] + 1 < len(spelled[i])
        ]
        if not unclear:
            return now
        for i in unclear:
            chosen[i] += 1


def _stem(file: Path) -> str:
    return Path(without_suffix(file.name)).stem


def _tails(file: Path) -> list[str]:
    parts = file.parts
    return [str(Path(*parts[-n:])) for n in range(2, len(parts) + 1)]


def _read(
    job: tuple[Path, ...], run_id: str, pattern: Pattern | None, known: Sequence[LogFormat]
) -> list[Reading]:
    """The run of ``job``, a log or stdout and stderr; two where these are of different runs."""
    file = job[0]
    values: dict[str, Any] = {"run_id": run_id, "source": clean(str(file))}
    depth = pattern.depth if pattern is not None else 0
    parents = file.absolute().parents
    values["study"] = clean(parents[min(depth, len(parents) - 1)].name) or None

    def rejected(status: Status, reason: str, *code: Code) -> list[Reading]:
        findings = tuple(Finding(run_id, Severity.ERROR, each, reason) for each in code)
        return [Reading(Row(**values, status=str(status), reason=clean(reason)), findings)]

    columns: dict[str, Any] = {}
    if pattern is not None:
        try:
            named = next(filter(None, map(pattern.read, job)), None)
        except ValueError as error:
            return rejected(Status.SKIPPED, f"{file.name}: {error}")
        if named is None:
            return rejected(Status.SKIPPED, f"its name does not fit the pattern {pattern.text}")
        columns = named
        values["slurm_job_id"] = columns.get("slurm_job_id")
    notes: list[Finding] = []
    found = []
    for each in job:
        try:
            found.append((each, tally_of(each, known)))
        except lines.UnreadableError as error:
            if each is file:
                return rejected(Status.FAILED, f"cannot be read: {error}")
            message = f"{each.name} cannot be read, so only {file.name} is used: {error}"
            notes.append(Finding(run_id, Severity.WARNING, Code.INCOMPLETE_EPOCHS, clean(message)))
    if len(found) > 1:
        (_, tally), (second, other) = found
        if streams.are_two_runs(tally, other):
            own = str(Path(run_id).with_name(clean(second.name)))
            both = [*_read((file,), run_id, pattern, known), *_read((second,), own, pattern, known)]
            return [_apart(reading, job) for reading in both]
        tally, note = _joined(tally, other, columns, job)
        if note:
            notes.append(Finding(run_id, Severity.WARNING, Code.DUPLICATE_CONTENT, clean(note)))
    else:
        ((_, tally),) = found
        tally.close(_claimed_ranks(columns, tally))
    if not tally.score:
        failed = tally.failure.job_id if tally.failure else None
        values["slurm_job_id"] = columns.get("slurm_job_id") or failed
        # without a pattern it need not be a run's log
        codes = [] if pattern is None else [Code.MISSING_TOTAL]
        return rejected(*_nothing([each for each, _ in found], tally, known), *codes)
    log = Log(file, tally, columns)
    findings = (*notes, *(Finding(run_id, *problem) for problem in audit_log(log)))
    row = log_row(log, values, has_pattern=pattern is not None)
    return [Reading(row, findings, log.content(), log.marks())]


def tally_of(file: Path, known: Sequence[LogFormat]) -> Tally:
    """What the format that fits ``file`` best finds in it; not closed yet."""
    candidates = _Candidates(known)
    for block, ended in lines.blocks(file):
        candidates.feed(block, ended)
    return candidates.best


def _joined(
    first: Tally, second: Tally, columns: dict[str, Any], job: tuple[Path, ...]
) -> tuple[Tally, str]:
    """What stdout and stderr of ``job`` say together, and a note where they differ."""
    streams.share_facts(first, second)
    for each in (first, second):
        each.close(_claimed_ranks(columns, each))
    main, more = streams.richer_first(first, second)
    epoch = streams.first_difference(main, more)
    streams.join(main, more)
    if epoch is None:
        return main, ""
    used, not_used = job if main is first else job[::-1]
    return main, f"{not_used.name} has other values for epoch {epoch}; those of {used.name} count"


def _apart(reading: Reading, job: tuple[Path, ...]) -> Reading:
    """``reading`` with a note that ``job``'s files hold two runs."""
    message = clean(f"{job[0].name} and {job[1].name} hold different runs, so each is one")
    note = Finding(reading.row.run_id, Severity.WARNING, Code.DUPLICATE_CONTENT, message)
    return dataclasses.replace(reading, findings=(*reading.findings, note))


class _Candidates:
    """The formats that a log may still have, each with what it finds.

    Formats with a signature take part from the block on that has it; where all have one, all do
    from the start.
    """

    def __init__(self, known: Sequence[LogFormat]) -> None:
        general = [form for form in known if not form.file.signature]
        self.signed = [form for form in known if form.file.signature] if general else []
        self.tallies = [LineReader(form) for form in general or known]
        self.blocks = 0
        self.decided = False

    def feed(self, block: bytes, ended: bool) -> None:
        """Take in one block of the log."""
        first, *others = self.tallies
        self._feed(first, block, ended)
        if first.whole_lines >= DECIDED:  # no other can match more lines
            self.tallies, self.decided = [first], True
        if self.decided:
            return
        if self.blocks < SIGNED_BLOCKS and self.signed:
            self.blocks += 1
            others += map(LineReader, self._found(block))
        for tally in others:
            self._feed(tally, block, ended)
        self.tallies = [first, *others]
        best = self.best
        if best.score >= DECIDED and not best.form.file.library:
            self.tallies, self.decided = [best], True

    def _found(self, block: bytes) -> list[LogFormat]:
        """The formats whose signature is in ``block`` for the first time."""
        # each search passes over the block: what repeats is searched once
        sources = [pattern.pattern for form in self.signed for pattern in form.signatures]
        different = lines.different_lines(block, *sources)
        found = [form for form in self.signed if form.is_found(different)]
        self.signed = [form for form in self.signed if form not in found]
        return found

    def _feed(self, tally: LineReader, block: bytes, ended: bool) -> None:
        with time_limit(SLOWEST_BLOCK_S, _too_slow(tally.form)):
            tally.feed(block, ended)

    @property
    def best(self) -> LineReader:
        """What reads most; one with a signature needs half as much as one without."""
        programs = any(
            each.ranks or (each.score and each.form.file.signature)
            for each in self.tallies
            if not each.form.file.library
        )
        return max(
            (each for each in self.tallies if not (programs and each.form.file.library)),
            key=lambda each: (
                each.score * (2 if each.form.file.signature else 1),
                bool(each.form.file.signature),  # none reads anything: it says what is lacking
            ),
        )


def _claimed_ranks(columns: dict[str, Any], tally: Tally) -> int | None:
    """The ranks that the run had by its name or its own lines."""
    nodes = columns.get("nodes") or tally.fact("nodes") or 1
    gpus = tally.fact("available_gpus")
    claimed = (
        columns.get("workers") or tally.fact("world_size") or (gpus and int(gpus) * int(nodes))
    )
    return int(claimed) if claimed else None


def _nothing(files: Iterable[Path], tally: Tally, known: Iterable[LogFormat]) -> tuple[Status, str]:
    """The status of a run whose log has no values, and the reason."""
    if tally.failure is not None:
        return tally.failure.status, f"no values were printed, and: {tally.failure.line}"
    heads = (next(lines.blocks(file), (b"", True))[0] for file in files)
    head = next(filter(None, heads), b"")
    if not head:
        return Status.INCOMPLETE, "empty file"
    binary = "looks like binary data; " if lines.is_binary(head) else ""
    names = [form.name for form in known]
    tried = f"in format {' or '.join(names)}" if len(names) < MANY else "in any known format"
    return Status.FAILED, f"{binary}no line with an epoch or a total {tried}{tally.hint}"


def _too_slow(form: LogFormat) -> str:
    return (
        f"format {form.name}: its regular expressions need more than {SLOWEST_BLOCK_S} s for a "
        "megabyte; a repeat inside a repeat, such as (a+)+, does that: write (a++)+"
    )


def _batch_size_finding(run_id: str, pattern: Pattern) -> Finding:
    if "{batch_size_global}" in pattern.text:
        message = "batch sizes in names are of all devices together, as the pattern says"
    else:
        message = (
            "batch sizes in names are taken as per device, in this log and all others; "
            "{batch_size_global} in the pattern says otherwise"
        )
    return Finding(run_id, Severity.INFO, Code.BATCH_SEMANTICS, message)

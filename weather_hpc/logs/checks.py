"""Audit of one log: ranks, epochs, totals and losses that do not fit each other or its name."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from weather_hpc.logs.log import Log, has_many_digits, whole
from weather_hpc.logs.time_checks import Problem, audit_times
from weather_hpc.runs.row import Code, Finding, Row, Severity
from weather_hpc.text import counted


def audit_log(log: Log) -> Iterator[Problem]:
    """What looks wrong in one log."""
    yield from _losses(log)
    yield from _ranks(log)
    yield from _repeats(log)
    yield from _stops(log)
    yield from _claims(log)
    yield from _batch_sizes(log)
    if log.series:
        yield from _gaps(log)
        yield from _ends(log)
        yield from _head(log)
    if log.tally.torn:
        yield (
            Severity.WARNING,
            Code.INCOMPLETE_EPOCHS,
            (
                f"{counted(log.tally.torn, 'line')} torn or unreadable, values not used; "
                f"the first: {log.tally.torn_example}"
            ),
        )
    yield from audit_times(log)


def _losses(log: Log) -> Iterator[Problem]:
    for name, series in log.named():
        if series.lost is not None:
            epoch, loss = series.lost
            yield Severity.ERROR, Code.NAN_LOSS, f"{name}epoch {epoch}: loss is {loss}"
            break
    for name, series in log.named():
        # most of them: it is no cross entropy
        if series.negative is not None and series.negatives * 2 <= series.losses:
            epoch, loss = series.negative
            message = f"{name}epoch {epoch}: loss is {loss}; a cross entropy is never below 0"
            yield Severity.WARNING, Code.NAN_LOSS, message
            break
    above = 0 if log.in_percent else sum(series.above_one for series in log.series)
    if log.in_percent:
        percents = [f[1] for s in log.series for f in s.epochs.values() if f[1] is not None]
        above = sum(value > 100 for value in percents)
    below = sum(series.below_zero for series in log.series)
    if above or below:
        most = "100 %" if log.in_percent else "1"
        yield (
            Severity.ERROR,
            Code.NAN_LOSS,
            (f"{counted(above + below, 'accuracy value')} impossible: not within 0 and {most}"),
        )


def _ranks(log: Log) -> Iterator[Problem]:
    tally, seen = log.tally, log.ranks
    claims = {}
    if "workers" in log.columns:
        claims["its name"] = log.columns["workers"]
    for size in tally.facts.get("world_size", {}):
        claims["its world size line"] = size
    sure = set(claims.values())
    nodes = log.claimed("nodes", "nodes") or 1
    for gpus in tally.facts.get("available_gpus", {}):
        claims[f"'available GPUs: {gpus}'"] = int(gpus) * nodes
    claimed = " and ".join(f"{who} says {n}" for who, n in claims.items())
    if len(set(claims.values())) > 1:
        # more devices than ranks may be idle; anything else cannot be
        idle = len(sure) == 1 and max(claims.values()) not in sure
        severity = Severity.WARNING if idle else Severity.ERROR
        yield severity, Code.RANK_COUNT_MISMATCH, f"claims contradict each other: {claimed}"
    if not seen or log.is_single_process or log.only_one_prints or log.first_prints_epochs:
        return
    claim = log.workers if sure else max(claims.values(), default=len(seen))
    missing = [rank for rank in range(min(int(claim or 0), 10_000)) if rank not in seen]
    if len(seen) != claim or missing:
        lost = f", none of {_listed(missing, 'rank')}" if missing else ""
        from_one = sorted(seen) == list(range(1, len(seen) + 1)) and len(seen) == claim
        if from_one:
            lost += " (or ranks count from 1)"
        highest = f"highest rank {max(seen)}"
        yield (
            Severity.WARNING if from_one else Severity.ERROR,
            Code.RANK_COUNT_MISMATCH,
            f"{claimed or highest}; {_listed(sorted(seen), 'rank')} seen{lost}",
        )


def _repeats(log: Log) -> Iterator[Problem]:
    for name, series in log.named():
        if not series.contradicted:
            continue
        again = _listed(sorted(series.contradicted), "epoch")
        if log.in_turn:
            yield (
                Severity.ERROR,
                Code.RANK_COUNT_MISMATCH,
                (
                    f"{name}{again} printed several times with different values, in turn: lines of "
                    "steps, or of ranks that print no number; loss and accuracy are not used"
                ),
            )
        elif log.tally.stopped is not None:
            yield (
                Severity.ERROR,
                Code.RESTARTED,
                (
                    f"{name}{again} repeated with different values, restarted after "
                    f"'{log.tally.stopped[1]}'; the later line counts"
                ),
            )
        else:
            yield (
                Severity.ERROR,
                Code.RESTARTED,
                (
                    f"{name}{again} repeated with different values: two runs in one file, "
                    "restarted, or ranks without a number in succession; the later line counts"
                ),
            )
        break
    repeated = sum(series.repeated for series in log.series)
    if repeated:
        yield (
            Severity.WARNING,
            Code.DUPLICATE_CONTENT,
            (f"{counted(repeated, 'epoch line')} repeated with the same values; counted once"),
        )


def _stops(log: Log) -> Iterator[Problem]:
    """A failure line that follows epochs."""
    if log.tally.stopped is None:
        return
    if log.resumed_after is not None:
        epoch, line = log.resumed_after
        covers = (
            "its total lacks the earlier part" if log.lacks_part else "its total covers both parts"
        )
        yield (
            Severity.WARNING,
            Code.RESTARTED,
            f"continues after epoch {epoch} and '{line}': {covers}",
        )
    elif log.total is not None:
        yield (
            Severity.INFO,
            Code.MISSING_TOTAL,
            f"a total, and after the last epoch '{log.tally.stopped[1]}'",
        )


def _gaps(log: Log) -> Iterator[Problem]:
    gaps = []
    for name, series in log.named():
        missing = series.missing()
        count = series.last - series.first + 1 - series.seen
        if missing:
            gaps.append(f"{name}{_listed(missing, 'epoch')}")
        elif count and series.every == 1:
            gaps.append(f"{name}{count} epochs")
    if gaps:
        more = f" and of {len(gaps) - 3} more ranks" if len(gaps) > 3 else ""
        text = "; ".join(gaps[:3])
        yield Severity.ERROR, Code.INCOMPLETE_EPOCHS, f"lines missing in between: {text}{more}"


def _ends(log: Log) -> Iterator[Problem]:
    lasts = {name: series.last for name, series in log.named()}
    if len(set(lasts.values())) > 1:
        early, late = min(lasts, key=lasts.__getitem__), max(lasts, key=lasts.__getitem__)
        yield (
            Severity.ERROR,
            Code.INCOMPLETE_EPOCHS,
            (
                f"{early.rstrip(': ')} ends at epoch {lasts[early]}, "
                f"{late.rstrip(': ')} at epoch {lasts[late]}"
            ),
        )


def _claims(log: Log) -> Iterator[Problem]:
    claimed, done = log.epochs, log.epochs_done
    if claimed is not None and done is not None and claimed != done:
        yield Severity.ERROR, Code.INCOMPLETE_EPOCHS, f"{claimed} epochs claimed, {done} done"
    steps, done = whole(log.tally.latest("steps")), log.steps
    apart = max((series.apart for series in log.tally.steps.values()), default=0.0)
    if steps is not None and done is not None and done + max(1.0, apart) < steps:
        yield Severity.ERROR, Code.INCOMPLETE_EPOCHS, f"{steps} steps claimed, {done} done"


def _batch_sizes(log: Log) -> Iterator[Problem]:
    """A batch size in the log's name that its lines contradict."""
    for column, field, what in (
        ("batch_size_per_device", "batch_size", "per device"),
        ("batch_size_global", "batch_size_global", "over all devices"),
    ):
        named, printed = log.columns.get(column), log.tally.fact(field)
        if None not in (named, printed) and named != printed:
            yield (
                Severity.WARNING,
                Code.BATCH_SEMANTICS,
                f"its name says {named} images {what}, its lines {printed}: the name counts",
            )


def _head(log: Log) -> Iterator[Problem]:
    first, start = log.first or 0, log.counted_from
    late = {name: s.first for name, s in log.named() if s.first > first}
    severity = Severity.WARNING
    cut = ""
    if first == 1 and start != 1:
        rest, typical = log.uncounted_s, log.typical_s
        fits = ""
        if rest is not None and typical:
            fits = f"; {rest:.1f} s of the total lie in no epoch, one takes {typical:.1f} s"
        cut = f"begins at epoch 1: either epoch 0 is cut off or epochs count from 1{fits}"
    elif first > (start or 0):
        cut = f"its head is cut off: {_listed(range(start or 0, first), 'epoch')} missing"
        if start is None:
            cut = f"its head is cut off: no epoch before {first}"
    # where a cut falls between two ranks' lines, one of them has an epoch less
    if late and (not cut or max(late.values()) > first + 1):
        severity = Severity.ERROR
    if late:
        named = ", ".join(
            f"{name.rstrip(': ')} begins at epoch {epoch}" for name, epoch in list(late.items())[:3]
        )
        cut = f"{cut}; {named}" if cut else f"others begin at epoch {first}, {named}"
    if cut:
        yield severity, Code.INCOMPLETE_EPOCHS, cut


def _listed(numbers: list[int] | range, noun: str) -> str:
    """``epoch 3``, ``epochs 0-8``, ``ranks 0, 2-3``."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        elif len(spans) < 6:
            spans.append([number, number])
        else:
            break
    shown = [f"{a}" if a == b else f"{a}-{b}" for a, b in spans[:5]] + ["..."] * (len(spans) > 5)
    return f"{noun}{'' if len(numbers) == 1 else 's'} {', '.join(shown)}"


def audit_across_logs(rows: Iterable[Row]) -> Iterator[Finding]:
    """What looks wrong when ``rows`` are compared.

    Pass rows of logs only: the records of our own runs state how many epochs were requested, and
    synthetic times in them would look shared.
    """
    rows = list(rows)
    yield from _short(rows)
    yield from _shared_totals(rows)


def _short(rows: Sequence[Row]) -> Iterator[Finding]:
    """Logs with fewer epochs than most others that claim as many.

    Logs are compared within their study, stage and claimed epochs; at least two must agree on
    what is usual.
    """
    groups: dict[tuple[str | None, str | None, int | None], list[Row]] = defaultdict(list)
    for row in rows:
        if row.epochs_done is not None:
            groups[row.study, row.stage, row.epochs].append(row)
    for members in groups.values():
        counts = Counter(row.epochs_done for row in members)
        usual, agreeing = max(counts.items(), key=lambda item: (item[1], item[0] or 0))
        for row in members:
            if agreeing > 1 and (row.epochs_done or 0) < (usual or 0):
                yield Finding(
                    row.run_id, Severity.WARNING, Code.INCOMPLETE_EPOCHS,
                    f"ends after {row.epochs_done} epochs; "
                    f"{agreeing} other logs of {row.study} after {usual}",
                )  # fmt: skip


def _shared_totals(rows: Sequence[Row]) -> Iterator[Finding]:
    """Totals that are equal to more digits than two runs can agree in."""
    seen: dict[float, Row] = {}
    for row in rows:
        if row.time_s is not None and has_many_digits(row.time_s):
            before = seen.setdefault(row.time_s, row)
            if before is not row:
                yield Finding(
                    row.run_id, Severity.WARNING, Code.DUPLICATE_CONTENT,
                    f"its total {row.time_s!r} s is to the last digit that of {before.run_id}",
                )  # fmt: skip

"""Audit of one log: ranks, epochs, totals and losses that do not fit each other or its name."""

from collections.abc import Iterator

from weather_hpc.analysis.table import counted
from weather_hpc.collect.finding import Code, Severity
from weather_hpc.collect.logs.log import Log
from weather_hpc.collect.logs.series import Series

ROUNDING = 0.01
"""How much the epochs of a rank may exceed its total, relatively: figures are printed rounded."""

OUTSIDE = 0.05
"""Share of the total outside all epochs from which on it is told."""

FAR = 2.0
"""A total this many times the epochs' sum does not fit them; cut epochs this many times too."""

VERY_FAR = 5.0
"""From here on that is an error: another unit, say, or another run's total."""

Found = tuple[Severity, Code, str]


def audit_log(log: Log) -> Iterator[Found]:
    """What looks wrong in one log, as severity, code and the evidence in one line."""
    yield from _losses(log)
    yield from _ranks(log)
    yield from _repeats(log)
    if log.series:
        yield from _gaps(log)
        yield from _ends(log)
        yield from _head(log)
    if log.tally.torn:
        yield (
            Severity.WARNING,
            Code.INCOMPLETE_EPOCHS,
            (
                f"{counted(log.tally.torn, 'line')} torn or not readable, figures not used; "
                f"the first: {log.tally.torn_example}"
            ),
        )
    yield from _totals(log)
    yield from _times(log)


def _losses(log: Log) -> Iterator[Found]:
    for name, series in _named(log):
        if series.lost is not None:
            epoch, loss = series.lost
            yield Severity.ERROR, Code.NAN_LOSS, f"{name}epoch {epoch}: loss is {loss}"
            break
    for name, series in _named(log):
        if series.negative is not None:
            epoch, loss = series.negative
            words = f"{name}epoch {epoch}: loss is {loss}; a cross entropy is never below 0"
            yield Severity.WARNING, Code.NAN_LOSS, words
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
            (f"{counted(above + below, 'accuracy figure')} impossible: not within 0 and {most}"),
        )


def _ranks(log: Log) -> Iterator[Found]:
    tally, seen = log.tally, log.ranks
    claims = {}
    if "workers" in log.columns:
        claims["its name"] = log.columns["workers"]
    for size in tally.facts.get("world_size", {}):
        claims["its world size line"] = size
    sure = set(claims.values())
    nodes = log.said("nodes", "nodes") or 1
    for gpus in tally.facts.get("available_gpus", {}):
        claims[f"'available GPUs: {gpus}'"] = int(gpus) * nodes
    told = " and ".join(f"{who} says {n}" for who, n in claims.items())
    if len(set(claims.values())) > 1:
        # more devices than ranks may be idle; anything else cannot be
        idle = len(sure) == 1 and max(claims.values()) not in sure
        severity = Severity.WARNING if idle else Severity.ERROR
        yield severity, Code.RANK_COUNT_MISMATCH, f"claims contradict each other: {told}"
    if not seen or log.speaks_as_one:
        return
    claim = log.workers if sure else max(claims.values(), default=len(seen))
    missing = [rank for rank in range(min(int(claim or 0), 10_000)) if rank not in seen]
    if len(seen) != claim or missing:
        lost = f", none of {_listed(missing, 'rank')}" if missing else ""
        yield (
            Severity.ERROR,
            Code.RANK_COUNT_MISMATCH,
            (f"{told or f'highest rank {max(seen)}'}; {_listed(sorted(seen), 'rank')} seen{lost}"),
        )


def _repeats(log: Log) -> Iterator[Found]:
    for name, series in _named(log):
        if series.contradicted:
            epochs = sorted(series.contradicted)
            what = "two runs in one file, or restarted"
            yield (
                Severity.ERROR,
                Code.RESTARTED,
                (
                    f"{name}{_listed(epochs, 'epoch')} there more than once, figures differ: "
                    f"{what}; the later line counts"
                ),
            )
            break
    repeated = sum(series.repeated for series in log.series)
    if repeated:
        yield (
            Severity.WARNING,
            Code.DUPLICATE_CONTENT,
            (f"{counted(repeated, 'epoch line')} there again with the same figures; counted once"),
        )


def _gaps(log: Log) -> Iterator[Found]:
    gaps = []
    for name, series in _named(log):
        missing = series.missing()
        count = series.last - series.first + 1 - series.seen
        if missing:
            gaps.append(f"{name}{_listed(missing, 'epoch')}")
        elif count:
            gaps.append(f"{name}{count} epochs")
    if gaps:
        more = f" and of {len(gaps) - 3} more ranks" if len(gaps) > 3 else ""
        text = "; ".join(gaps[:3])
        yield Severity.ERROR, Code.INCOMPLETE_EPOCHS, f"lines missing in between: {text}{more}"


def _ends(log: Log) -> Iterator[Found]:
    lasts = {name: series.last for name, series in _named(log)}
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
    asked, done = log.said("epochs", "epochs"), log.epochs_done
    if asked is not None and done is not None and asked != done:
        yield Severity.ERROR, Code.INCOMPLETE_EPOCHS, f"{asked} epochs claimed, {done} done"


def _head(log: Log) -> Iterator[Found]:
    first, start = log.first or 0, log.counted_from
    late = {name: s.first for name, s in _named(log) if s.first > first}
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


def _totals(log: Log) -> Iterator[Found]:
    tally = log.tally
    if not tally.total_lines:
        yield Severity.ERROR, Code.MISSING_TOTAL, "no line tells the run's total"
        return
    wrong = [total for total in tally.totals if not 0 < total < float("inf")]
    if wrong:
        yield Severity.ERROR, Code.MISSING_TOTAL, f"a total of {wrong[0]:g} s is impossible"
        return
    if not log.totals_agree:
        low, high = min(tally.totals), max(tally.totals)
        yield (
            Severity.ERROR,
            Code.MISSING_TOTAL,
            (
                f"totals disagree by {(high - low) / high:.0%}: {low:g} s to {high:g} s; "
                "the slowest is taken"
            ),
        )
    if tally.whole_process:
        yield (
            Severity.INFO,
            Code.MISSING_TOTAL,
            f"the total {max(tally.totals):g} s is of the whole process, its start included",
        )
    if tally.open_total:
        yield (
            Severity.WARNING,
            Code.MISSING_TOTAL,
            (
                f"the file ends in the total {tally.totals[-1]:g} without a line end: "
                "digits may be cut off"
            ),
        )
    if tally.total_lines not in log.totals_expected and not log.speaks_as_one:
        word = "more" if tally.total_lines > max(log.totals_expected) else "fewer"
        yield (
            Severity.ERROR,
            Code.RANK_COUNT_MISMATCH,
            (
                f"{word} totals than ranks: {counted(tally.total_lines, 'total')}, "
                f"{counted(len(log.series) or 1, 'rank')}"
            ),
        )


def _times(log: Log) -> Iterator[Found]:
    for name, series in _named(log):
        odd = [e for e, f in series.epochs.items() if f[2] is not None and not 0 < f[2] < 1e15]
        if odd:
            yield (
                Severity.ERROR,
                Code.MISSING_TOTAL,
                (f"{name}epoch {odd[0]}: a time of {series.epochs[odd[0]][2]:g} s is impossible"),
            )
            break
    yield from _outside(log)


def _outside(log: Log) -> Iterator[Found]:
    """Whether the total and the epochs' times fit each other."""
    total, rest = log.total, log.uncounted_s
    if total is None or rest is None:
        return
    spent = total - rest
    if is_too_short(log):
        yield (
            Severity.ERROR,
            Code.MISSING_TOTAL,
            (f"the total {total:g} s is less than the epochs of one rank together, {spent:.2f} s"),
        )
        return
    start = log.counted_from if log.counted_from is not None else log.first
    cut = (log.first or 0) - (start or 0)
    if cut > 0 and log.typical_s:
        each = rest / cut
        if not log.typical_s / FAR <= each <= log.typical_s * FAR:
            wild = each > log.typical_s * VERY_FAR and rest > total / 2
            yield (
                Severity.ERROR if wild else Severity.WARNING,
                Code.MISSING_TOTAL,
                (
                    f"the total {total:g} s leaves {each:.2f} s for each of the "
                    f"{counted(cut, 'epoch')} cut off; the others took {log.typical_s:.2f} s"
                ),
            )
    elif cut <= 0 and total > spent * FAR:
        yield (
            Severity.ERROR if total > spent * VERY_FAR else Severity.WARNING,
            Code.MISSING_TOTAL,
            (f"the total {total:g} s is much more than all epochs together, {spent:.2f} s"),
        )
    elif cut <= 0 and rest > OUTSIDE * total:
        yield (
            Severity.INFO,
            Code.MISSING_TOTAL,
            (f"{rest:.1f} s of the total {total:g} s lie in no epoch of the log"),
        )


def is_too_short(log: Log) -> bool:
    """Whether the total is less than what one rank's epochs took."""
    if log.total is None or log.uncounted_s is None:
        return False
    return log.uncounted_s < -ROUNDING * log.total


def _named(log: Log) -> Iterator[tuple[str, Series]]:
    if not log.ranks:
        yield from (("", series) for series in log.series)
    for rank, series in log.ranks.items():
        yield f"rank {rank}: ", series


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

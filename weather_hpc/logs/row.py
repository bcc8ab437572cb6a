"""The row of one log: what it and its name say, and why it is in no table."""

from typing import Any

from weather_hpc.files import short_hash
from weather_hpc.logs.log import Log, whole
from weather_hpc.logs.time_checks import is_of_last_part, is_too_short
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage
from weather_hpc.study.tasks import BatchMode
from weather_hpc.text import clean

_IDENTITY = (
    "study", "stage", "strategy", "backend", "device", "model", "nodes", "workers",
    "batch_size_per_device", "batch_size_global", "epochs",
)  # fmt: skip
"""What repeats of one configuration share."""


def log_row(log: Log, values: dict[str, Any], *, has_pattern: bool) -> Row:
    """``log`` as a Row; ``values`` are those known before it was read.

    time_s is the total of the slowest rank. train_loss and train_accuracy are means over the
    ranks of their last epoch. Without a pattern it is unknown which logs are repeats of
    each other, so each is a configuration of its own.
    """
    tally = log.tally
    status, reason = _judge(log)
    preprocess = _is_preprocess(log)
    values = values | _requested(log)
    values["stage"] = str(Stage.PREPROCESS if preprocess else Stage.TRAIN)
    values["status"], values["reason"] = str(status), reason and clean(reason)
    if reason is None:
        values["table"] = "preprocess" if preprocess else "training"
    values |= {
        "time_s": log.total,
        "images": whole(tally.fact("train_images")) or whole(tally.fact("images")),
        "images_per_s": _finite(log.images_per_s),
        "epochs_done": log.epochs_done,
        "steps": log.steps,
        "train_loss": _finite(tally.latest("train_loss")) if log.final(0) is None else log.final(0),
        "train_accuracy": log.final(1),
        "test_loss": _finite(tally.latest("test_loss")),
        "test_accuracy": _share(log),
        "world_size_actual": log.ranks_seen,
    }
    identity = {name: values.get(name) for name in _IDENTITY}
    values["configuration"] = values["run_id"]
    if has_pattern:
        label = [str(v) for k, v in identity.items() if v is not None and k != "study"]
        values["configuration"] = clean(f"{'-'.join(label)}-{short_hash(identity)}")
    values = {k: clean(v) if isinstance(v, str) else v for k, v in values.items()}
    return Row(**values)


def _is_preprocess(log: Log) -> bool:
    return "backend" in log.columns or log.tally.form.file.stage == "preprocess"


def _requested(log: Log) -> dict[str, Any]:
    each = log.claimed("batch_size_per_device", "batch_size")
    together = log.claimed("batch_size_global", "batch_size_global")
    if "batch_size_per_device" in log.columns and log.tally.fact("batch_size") not in (None, each):
        together = log.columns.get("batch_size_global")  # the lines are of other batches
    mode = None
    if each is not None:
        mode = BatchMode.PER_DEVICE
        together = together or (each * log.workers if log.workers else None)
    elif together is not None:
        mode = BatchMode.GLOBAL
        fits = log.workers and together % log.workers == 0
        each = together // log.workers if fits and log.workers else None
    job = log.tally.failure.job_id if log.tally.failure else None
    return {
        "repeat": log.columns.get("repeat"),
        "strategy": log.claimed("strategy", "strategy"),
        "device": log.claimed("device", "device") or _device(log),
        "backend": log.claimed("backend", "backend"),
        "model": log.claimed("model", "model"),
        "nodes": log.claimed("nodes", "nodes"),
        "workers": log.workers if log.workers else log.claimed("workers", "workers"),
        "batch_size_per_device": each,
        "batch_size_global": together,
        "batch_mode": mode and str(mode),
        "epochs": log.epochs,
        "slurm_job_id": log.claimed("slurm_job_id", "job_id") or job,
    }


def _device(log: Log) -> str | None:
    gpus = log.tally.fact("available_gpus")
    return "cuda" if gpus else None


def _judge(log: Log) -> tuple[Status, str | None]:
    """How the run ended, and why it is in no table; None: it is in one."""
    tally, cause = log.tally, ""
    missing = tally.total_lines < min(log.totals_expected) and not log.is_summed
    if tally.failure is not None:
        cause = f": {tally.failure.line}"
    starts, stops = (len(tally.facts.get(name, ())) for name in ("started", "stopped"))
    if not tally.totals and not cause and min(starts, stops) > 1:
        return Status.OK, f"several runs in one file: {starts} starts and {stops} ends, far apart"
    if not (tally.totals or log.is_summed) or (missing and cause):
        status = tally.failure.status if tally.failure else Status.INCOMPLETE
        count = "no" if not tally.totals else "not every rank's"
        if not cause and any(series.may_be_cumulative for series in log.series):
            cause = f"; its epochs' times may each count from the start{tally.hint}"
        if not cause and any(s.from_start and s.times and not s.cumulative for s in log.series):
            cause = f"; its epochs' times, from the run's start, start again{tally.hint}"
        if not cause and any(series.of_day for series in log.series):
            cause = f"; its epochs' times may be times of day{tally.hint}"
        return status, f"{count} total in the log{_reached(log)}{cause or tally.hint}"
    if log.total is None:
        return Status.OK, "its total is no time that a run can take"
    if any(series.may_end_at(log.total) for series in log.series):
        return Status.OK, "its total may be a time of day, as its epochs' times are"
    if log.lacks_part:
        epoch, line = log.resumed_after or (0, "")
        return Status.OK, f"its total lacks what was before '{line}', after epoch {epoch}"
    if is_too_short(log):
        return Status.OK, "its total is less than its epochs took (or they are in another unit)"
    if is_of_last_part(log):
        return Status.OK, f"its total leaves no time for what was before epoch {log.first}"
    if log.steps_before:
        return Status.OK, f"its total may lack the {log.steps_before} steps before its last part"
    twice = any(series.contradicted for series in log.series) and not log.in_turn
    # the same lines again may be a copy of them, but one has the same total
    twice |= any(series.behind for series in log.series) and not log.totals_agree
    most = max(*log.totals_expected, log.workers or 1)
    if several := _several(log):
        return Status.OK, f"several runs in one file ({several}); expected one log per run"
    differ = not log.totals_agree or len(set(tally.totals)) > most
    too_many = tally.total_lines > max(log.totals_expected)
    if (too_many and differ) or (tally.total_lines > 1 and twice):
        why = "two runs in one file" if twice else "more totals than ranks, and they differ"
        return Status.OK, f"{why}: which total is the run's is ambiguous"
    measured = log.series or log.steps or log.epochs_done
    if not measured and not _is_preprocess(log):
        return Status.OK, f"a total but no epoch: what was measured is unknown{tally.hint}"
    if log.workers is None and not log.claimed("workers", "workers"):
        return Status.OK, "number of ranks or workers unknown; name {gpus} in --pattern"
    if _is_preprocess(log) and not log.claimed("backend", "backend"):
        return Status.OK, "backend unknown; name {backend} in --pattern"
    return Status.OK, None


def _reached(log: Log) -> str:
    """The epochs or steps in a log that ends early, of those that the run was to have."""
    of, steps = log.epochs, whole(log.tally.latest("steps"))
    seen = min((series.seen for series in log.series), default=log.epochs_done or 0)
    if of and seen < of:
        return f", {seen} of {of} epochs"
    return f", {log.steps} of {steps} steps" if log.steps and steps and log.steps < steps else ""


def _several(log: Log) -> str:
    """The numbers of its runs, or a preprocessing log's backends or workers, if several."""
    for name in ("run", "backend", "workers") if _is_preprocess(log) else ("run",):
        values = log.tally.facts.get(name, {})
        if len(values) > 1:
            return f"{name} {', '.join(map(str, list(values)[:5]))}"
    return ""


def _share(log: Log) -> float | None:
    """The last accuracy on held-out images, as a fraction.

    One below 1 is a percentage where the log's others are: 0.9 after 45.2.
    """
    value = _finite(log.tally.latest("test_accuracy"))
    if value is None:
        return None
    others = [float(each) for each in log.tally.facts["test_accuracy"]]
    above = sum(each > 1 for each in others)
    if value > 1 or log.in_percent or above * 2 > len(others):
        value = round(value / 100, 12)
    elif above:
        return None
    return value if 0 <= value <= 1 else None


def _finite(value: object) -> float | None:
    """``value`` where it is a finite number."""
    if isinstance(value, int | float) and abs(value) < float("inf"):
        return float(value)
    return None

"""What was measured, where and when."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from weather_hpc.report.collected import Collected
from weather_hpc.report.section import ReportSection
from weather_hpc.runs.row import Row

_MOST = 20
"""Values of one fact that are listed."""


def provenance_section(collected: Collected) -> ReportSection:
    """What was measured, where the numbers come from, and which GPUs computed."""
    rows = collected.comparison.rows
    gpus = collected.table("gpus")
    return ReportSection(
        "provenance",
        "Method and provenance",
        facts=[*overview(rows), *provenance(rows)],
        parts=[ReportSection("gpus", "Which GPUs computed", tables=[gpus])] if gpus else [],
    )


def overview(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What was measured."""
    statuses = Counter(row.status for row in rows)
    started = sorted({row.started_at for row in rows if row.started_at})
    facts = [
        ("Runs", ", ".join(f"{n} {status}" for status, n in statuses.most_common())),
        ("In tables", str(sum(row.table is not None for row in rows))),
        ("Images", _images(rows)),
        ("Image folder", distinct(row.data for row in rows)),
        ("Scaling", distinct(row.scaling for row in rows)),
        ("Measured", " to ".join(dict.fromkeys(map(_minute, (*started[:1], *started[-1:]))))),
    ]
    return [(label, text) for label, text in facts if text]


def provenance(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Where the numbers come from; several values where runs differ."""
    commits = {f"{r.commit}{' with changes' if r.dirty else ''}" for r in rows if r.commit}
    lists = {row.packages for row in rows if row.packages}
    facts = [
        ("Commit of weather_hpc", distinct(commits)),
        ("Hosts", distinct(row.host for row in rows)),
        ("CPU", distinct(row.cpu_model for row in rows)),
        ("Logical CPUs", distinct(row.cpu_count for row in rows)),
        ("Devices", distinct(row.device_name for row in rows)),
        ("GPU driver", distinct(row.driver for row in rows)),
        ("Versions", distinct(p for packages in lists for p in packages.split("; "))),
    ]
    return [(label, text) for label, text in facts if text]


def _minute(stamp: str) -> str:
    """An ISO time without its seconds; anything else unchanged."""
    try:
        time = datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    return f"{time:%Y-%m-%d %H:%M} {time.tzname() or ''}".rstrip()


def distinct(values: Iterable[object]) -> str:
    """The distinct ``values``, sorted, without None."""
    texts = sorted({str(value) for value in values if value is not None})
    more = f" and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return ", ".join(texts[:_MOST]) + more


def _images(rows: Iterable[Row]) -> str:
    counts = sorted({row.images for row in rows if row.stage == "preprocess" and row.images})
    sizes = sorted({row.image_size_px for row in rows if row.image_size_px})
    side = " and ".join(f"{size} × {size} pixels" for size in sizes)
    if not counts:
        return f"stored at {side}" if side else ""
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{number}, stored at {side}"

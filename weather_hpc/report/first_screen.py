"""The first screen: whether to trust the numbers, the most important ones, two plots."""

from collections.abc import Iterable, Sequence

from weather_hpc.analysis.headlines import headlines
from weather_hpc.analysis.subject import stop_of, subject_of
from weather_hpc.report.cards import cards
from weather_hpc.report.collected import Collected
from weather_hpc.report.section import FirstScreen
from weather_hpc.report.speedup_plot import speedup_plot
from weather_hpc.report.strategy_map import strategy_map
from weather_hpc.runs.row import Row
from weather_hpc.text import counted

_MOST_NAMES = 2
"""Models of hardware that are named, the rest are counted."""


def first_screen(collected: Collected) -> FirstScreen:
    """What stands above everything else."""
    comparison, findings = collected.comparison, collected.findings
    line, trust = subject_line(comparison.rows), collected.verdict
    subject = subject_of(comparison)
    if subject is None:
        return FirstScreen(line, trust, sentences=["No run was measured."])
    steps, series = collected.table("comparisons"), subject.main_series
    stop = stop_of(series, steps) if series and steps else None
    return FirstScreen(
        line,
        trust,
        cards(subject, stop, trusted=collected.trusted),
        [
            strategy_map(subject, trusted=collected.trusted),
            speedup_plot(subject, stop, collected.table("laws")),
        ],
        sentences=headlines(comparison, collected.extras, findings),
    )


def subject_line(rows: Sequence[Row]) -> str:
    """Study, images and their size, runs, hardware and date, in one line."""
    measured = [row for row in rows if row.table is not None]
    runs = counted(len(rows), "run")
    if len(measured) < len(rows):
        runs = f"{len(measured)} of {runs} measured"
    parts = [
        _names(row.study for row in rows),
        _images(measured or rows),
        runs,
        _hardware(measured or rows),
        _dates(row.started_at for row in rows if row.started_at),
    ]
    return " · ".join(filter(None, parts))


def _images(rows: Sequence[Row]) -> str:
    counts = [row.images for row in rows if row.images and row.stage == "preprocess"]
    counts = counts or [row.images for row in rows if row.images]
    sides = sorted({row.image_size_px for row in rows if row.image_size_px})
    side = " and ".join(f"{one} × {one}" for one in sides)
    if not counts:
        return f"images of {side} pixels" if side else ""
    many = f"{max(counts):,} images"
    return f"{many} of {side} pixels" if side else many


def _hardware(rows: Iterable[Row]) -> str:
    gpus, cpus = set(), set()
    for row in rows:
        if row.device_name:
            gpus.add(row.device_name)
        if row.cpu_model:
            cpus.add(row.cpu_model + (f" ({row.cpu_count} CPUs)" if row.cpu_count else ""))
    return ", ".join(filter(None, [_names(gpus), _names(cpus)]))


def _names(values: Iterable[str | None]) -> str:
    names = sorted({value for value in values if value})
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _dates(stamps: Iterable[str]) -> str:
    """The first and the last day."""
    days = sorted({stamp[:10] for stamp in stamps})
    return " to ".join(dict.fromkeys((*days[:1], *days[-1:])))

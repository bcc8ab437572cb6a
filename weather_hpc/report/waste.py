"""What was held and not used, as sentences, GPUs and then CPUs, the largest waste first."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from weather_hpc.analysis.candidates import Candidate, Work, all_works
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.statistics import median_interval
from weather_hpc.report.collected import run_files
from weather_hpc.report.usage import Share, Usage, memory_peak
from weather_hpc.runs.telemetry_file import read_telemetry
from weather_hpc.study.tasks import Device
from weather_hpc.text import brief, counted

MOST = 5
"""Sentences on CPUs and GPUs; the table has the rest."""
_WASTED = 50.0
"""Percent of what was asked for: who uses less wastes."""
_MOST_FILES = 50
"""Files of telemetry that are read for all sentences together."""
_FEWEST_SAMPLES = 5
"""Of a run, below which nothing is said about its peak."""
_RESERVE = 1.25
"""Memory to ask for, over the peak."""
_STEP_MB = 500


@dataclass(frozen=True)
class Waste:
    """One configuration's use of its CPUs or GPUs."""

    usage: Usage
    share: Share
    of_gpus: bool

    @property
    def size(self) -> float:
        """Node-hours of measured time, if unused parts of nodes count in part."""
        hours = self.usage.nodes * self.usage.hours
        return hours * (1 - self.share.used / self.share.asked)


def waste_sentences(found: Sequence[Usage], comparison: Comparison) -> list[str]:
    """A sentence for each waste, with what to ask for instead where that is certain."""
    wastes = [
        Waste(usage, share, of_gpus)
        for usage in found
        for share, of_gpus in ((usage.gpus, True), (usage.cpus, False))
        if share is not None and share.percent < _WASTED
    ]
    wastes.sort(key=lambda waste: (waste.of_gpus, waste.size), reverse=True)
    works, peaks = all_works(comparison), _Peaks()
    said = [
        _gpus(waste, works) if waste.of_gpus else _cpus(waste, peaks) for waste in wastes[:MOST]
    ]
    if len(wastes) > MOST:
        more = counted(len(wastes) - MOST, "configuration")
        said.append(f"CPUs or GPUs of {more} more were used by less than half; the table has them.")
    return [*said, *_memory(found)]


def _gpus(waste: Waste, works: Sequence[Work]) -> str:
    usage, share = waste.usage, waste.share
    hours = share.asked * usage.hours
    idle = hours - share.used * usage.hours
    text = (
        f"{usage.label} used {share.percent:.0f} % of the {counted(round(share.asked), 'GPU')} it "
        f"held: in measured time {brief(idle)} of {brief(hours)} GPU-hours passed without a kernel"
    )
    row = usage.group.settings
    if row.device == Device.CPU:
        return f"{text}. It computes on CPUs: ask for no GPU."
    if row.workers is not None and row.workers < share.asked:
        return f"{text}. It computes on {row.workers} of them: ask for {row.workers}."
    better = _on_fewer(usage.group, works)
    if better is None:
        return f"{text}."
    return (
        f"{text}. {better.label} does the same work in less time: {brief(better.slowness)} s "
        f"instead of {brief(usage.group.median('time_s') or 0)} s."
    )


def _on_fewer(group: Group, works: Sequence[Work]) -> Candidate | None:
    """The fastest that does the same work on fewer of the same devices in clearly less time."""
    work = next((w for w in works if any(c.group is group for c in w.candidates)), None)
    if work is None or work.weak:
        return None
    low, _ = median_interval(group.speeds)
    found = []
    for other in work.candidates:
        _, high = median_interval(other.group.speeds)
        same = other.group.settings.device_name == group.settings.device_name
        fewer = (other.workers or 0) < (group.settings.workers or 0)
        if same and fewer and low is not None and high is not None and high < low:
            found.append(other)
    return min(found, key=lambda candidate: candidate.slowness, default=None)


def _cpus(waste: Waste, peaks: "_Peaks") -> str:
    usage, share = waste.usage, waste.share
    each = " on the first node" if usage.nodes > 1 else ""
    text = (
        f"{usage.label} asked for {counted(round(share.asked), 'CPU')}{each} and used "
        f"{brief(share.used, 2)}"
    )
    peak = peaks.of(usage.group)
    enough = None if peak is None else max(1, math.ceil(peak))
    if peak is None or enough is None or enough >= share.asked:
        return f"{text}."
    return f"{text}, at most {brief(peak, 2)} in any second: {enough} would do."


class _Peaks:
    """The most CPUs that runs used in any second; reads few files, whatever the number of runs."""

    def __init__(self) -> None:
        self._left = _MOST_FILES

    def of(self, group: Group) -> float | None:
        """Of all measured runs of ``group``; None unless known of each."""
        peaks = []
        for row in group.measured:
            self._left -= 1
            files = run_files(row) if self._left >= 0 else None
            samples = read_telemetry(files.telemetry) if files else ()
            if len(samples) < _FEWEST_SAMPLES:
                return None
            peaks.append(max(s.host_cpu_percent - s.foreign_cpu_percent for s in samples))
        return max(peaks) / 100.0 if peaks else None


def _memory(found: Sequence[Usage]) -> Iterator[str]:
    """What the jobs asked for in memory and used at most, where Slurm knows both of all."""
    rows = [row for usage in found for row in usage.group.measured]
    asked = {row.memory_asked_mb for row in rows if row.slurm_source is not None}
    peaks = [memory_peak(row) for row in rows if row.slurm_max_rss_mb is not None]
    known = [peak for peak in peaks if peak is not None]
    (most, *more) = asked or {None}
    if more or most is None or len(known) < len(rows):
        return
    enough = math.ceil(_RESERVE * max(known) / _STEP_MB) * _STEP_MB
    if enough < most * _WASTED / 100:
        yield (
            f"Every job asked for {brief(most / 1000)} GB of memory a node; the largest peak was "
            f"{brief(max(known) / 1000)} GB: {brief(enough / 1000)} GB would do, with a quarter in "
            "reserve."
        )

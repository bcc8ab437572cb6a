"""The section on the sweep: when each run was queued and made, and what it cost."""

from collections.abc import Iterator

from weather_hpc.report.collected import Collected
from weather_hpc.report.cut_axis import date_text, duration_text
from weather_hpc.report.gantt import gantt
from weather_hpc.report.section import ReportSection
from weather_hpc.report.sweep_cost import cost_bars, cost_sentences, cost_table, stage_costs
from weather_hpc.report.timeline import Timeline
from weather_hpc.text import counted


def jobs_section(collected: Collected) -> ReportSection:
    """When each run was queued and made, and what it cost."""
    timeline, costs = Timeline.of(collected.comparison), stage_costs(collected.comparison.rows)
    known = [cost for cost in costs if cost.used is not None]
    return ReportSection(
        "sweep",
        "The sweep",
        sentences=[*_duration(timeline), *cost_sentences(costs)],
        tables=[cost_table(costs)] if known else [],
        plots=[gantt(timeline), cost_bars(costs)],
    )


def _duration(timeline: Timeline) -> Iterator[str]:
    """How long the sweep took, and how much of it only waited."""
    if not timeline.configurations:
        return
    sessions = timeline.sessions
    took = sum(end - start for start, end in sessions)
    text = f"The sweep took {duration_text(took)}"
    if len(sessions) > 1:
        text += f" in {len(sessions)} sessions, pauses between them not counted"
    text += f", from {date_text(timeline.first)}"
    if len(sessions) > 1:
        text += f" to {date_text(timeline.now)}"
    waited = timeline.waiting_s
    if waited >= 1 and took:
        share = 100 * waited / took
        text += f"; in {duration_text(waited)} of it ({share:.0f} %) jobs waited and none ran"
    yield f"{text}."
    if timeline.unknown:
        yield f"When {counted(timeline.unknown, 'run')} started is not known."

"""The files of a report's plots."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from weather_hpc import cli
from weather_hpc.files import write_bytes, write_text
from weather_hpc.report.drawing import Drawing, render
from weather_hpc.report.section import Report, ReportSection


def with_plots(report: Report, folder: Path) -> Report:
    """``report`` with every plot drawn; writes each into ``folder``, as .svg, .png and .pdf."""
    with cli.progress("drawing plots", total=len(report.plots)) as advance:

        def drawn(plots: Sequence[Drawing]) -> list[Drawing]:
            done = []
            for plot in plots:
                done.append(_write(folder, plot))
                advance()
            return done

        def section_drawn(section: ReportSection) -> ReportSection:
            parts = [section_drawn(part) for part in section.parts]
            return replace(section, plots=drawn(section.plots), parts=parts)

        first = replace(report.first, plots=drawn(report.first.plots))
        sections = [section_drawn(section) for section in report.sections]
        return replace(report, first=first, sections=sections)


def _write(folder: Path, drawing: Drawing) -> Drawing:
    if drawing.draw is None:
        return drawing
    files = render(drawing.name, drawing.draw, drawing.size)
    write_text(folder / f"{drawing.name}.svg", files.svg)
    write_bytes(folder / f"{drawing.name}.png", files.png)
    write_bytes(folder / f"{drawing.name}.pdf", files.pdf)
    return replace(drawing, svg=files.svg)


def remove_old_plots(folder: Path, report: Report) -> None:
    """Remove the files of an earlier collection's plots that ``report`` does not have."""
    drawn = {plot.name for plot in report.drawn}
    pictures = {picture.name for part in report.parts for picture in part.pictures}
    for file in folder.glob("*"):
        if file.suffix in (".svg", ".png", ".pdf") and file.stem not in drawn | pictures:
            file.unlink()

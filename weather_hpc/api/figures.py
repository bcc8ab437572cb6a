"""The report's plots as matplotlib figures."""

import io
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from weather_hpc.errors import UserError, nearest
from weather_hpc.report.drawing import RC, Drawing


class ReportFigure(Figure):
    """A figure that a notebook shows; change it or save it as any other of matplotlib."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=110)
        return out.getvalue()


class Figures:
    """Draws the plots of a report: ``results.plot.speedup()``, or ``results.plot("name")``.

    Every call draws a new figure, of the size it has in the report or of ``size``, width and
    height in inches. Raises UserError where the runs have no data for a plot, with the reason.
    """

    def __init__(self, drawings: Sequence[Drawing], measured: Sequence[str]) -> None:
        """``measured``: the names of the scaling tables that have rows, the main one first."""
        self._drawings = {drawing.name: drawing for drawing in drawings}
        self._measured = list(measured)

    @property
    def names(self) -> list[str]:
        """The plots that there are data for, in the order of the report."""
        return [name for name, drawing in self._drawings.items() if drawing.draw is not None]

    def __call__(self, name: str, size: tuple[float, float] | None = None) -> ReportFigure:
        """The plot ``name``, one of :attr:`names`."""
        drawing = self._drawing(name)
        if drawing.draw is None:
            raise UserError(f"plot {name!r}: {drawing.text}")
        with rc_context(RC):
            figure = ReportFigure(figsize=size or drawing.size, facecolor="white")
            FigureCanvasAgg(figure)
            drawing.draw(figure)
        return figure

    def data(self, name: str) -> list[dict[str, Any]]:
        """The values that the plot ``name`` shows, a dict for each point, bar or cell."""
        return [dict(row) for row in self._drawing(name).data]

    def strategy_map(self) -> ReportFigure:
        """Time and speedup of every configuration of the main work, batch size by ranks."""
        return self("strategy_map")

    def best_speedup(self) -> ReportFigure:
        """Speedup of the best curve of each strategy, with the fitted law and where it stops."""
        return self("best_speedup")

    def speedup(self, table: str | None = None, *, weak: bool | None = None) -> ReportFigure:
        """Speedup by ranks or workers, with intervals and the ideal line.

        ``table``: ``training``, ``preprocess``, ``eda`` or ``array``; without it training where it
        was measured. ``weak``: of the weak-scaling runs; without it of those where there are
        no others.
        """
        return self._scaling("speedup", table, weak=weak)

    def efficiency(self, table: str | None = None, *, weak: bool | None = None) -> ReportFigure:
        """Speedup per rank or worker; arguments as for :meth:`speedup`."""
        return self._scaling("efficiency", table, weak=weak)

    def time(self, table: str | None = None, *, weak: bool | None = None) -> ReportFigure:
        """Seconds by ranks or workers; arguments as for :meth:`speedup`."""
        return self._scaling("time", table, weak=weak)

    def batch_size(self) -> ReportFigure:
        """Seconds of training by batch size."""
        return self("training_batch")

    def pareto(self) -> ReportFigure:
        """Time against node-hours, and the configurations that no other beats in both."""
        return self("pareto")

    def phases(self, stage: str = "train") -> ReportFigure:
        """Where the time of ``train`` or ``preprocess`` went, by configuration."""
        return self(f"phases_{stage}")

    def telemetry(self) -> ReportFigure:
        """Use of CPUs, memory and GPUs over time, other users' load shaded."""
        return self("telemetry")

    def used_of_asked(self) -> ReportFigure:
        """CPUs, GPUs and memory used, as a share of what was asked for."""
        return self("used_of_asked")

    def learning(self, measure: str = "accuracy", by: str = "epoch") -> ReportFigure:
        """``accuracy`` or ``loss`` by ``epoch`` or ``seconds``, training and held-out images."""
        return self(f"learning_{measure}_{by}")

    def confusion(self) -> ReportFigure:
        """Predicted against true classes of the held-out images, of the most accurate run."""
        return self("confusion")

    def calibration(self) -> ReportFigure:
        """How often predictions are right, by the probability that the network gives them."""
        return self("calibration")

    def sweep(self) -> ReportFigure:
        """Every run in time: waiting, its phases, how it ended."""
        return self("sweep")

    def node_hours(self) -> ReportFigure:
        """Node-hours used over time, against the forecast."""
        return self("node_hours")

    def _drawing(self, name: str) -> Drawing:
        if name not in self._drawings:
            like = nearest(name, self.names) if self.names else ": these runs have data for none"
            raise UserError(f"no plot {name!r}{like}")
        return self._drawings[name]

    def _scaling(self, what: str, table: str | None, *, weak: bool | None) -> ReportFigure:
        if not self._measured:
            raise UserError(f"no plot of {what}: no run was measured")
        name = self._measured[0] if table is None else table
        if name not in self._measured:
            raise UserError(f"nothing measured in table {name!r}{nearest(name, self._measured)}")
        names = f"{name}_{what}", f"{name}_weak_{what}"
        if weak is None:
            weak = names[0] not in self._drawings and names[1] in self._drawings
        return self(names[weak])

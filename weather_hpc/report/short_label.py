"""Configurations in few words, for bars and points of plots."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from weather_hpc.analysis.table import ScalingTable
from weather_hpc.report.curve import batch_text
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import counted


class ShortLabels:
    """The configurations of one table in few words, such as ``ddp 2 × cpu, batch 32``.

    Settings are named where the measured rows differ in them.
    """

    def __init__(self, table: ScalingTable) -> None:
        self._table = replace(table, rows=table.measured)

    def of(self, row: Mapping[str, Any]) -> str:
        """The label of one row."""
        table, words = self._table, []
        workers, method = table.workers(row), row[BY_TABLE[table.name].method]
        if table.name == "training":
            words.append(f"{method or 'training'} {workers or '?'} × {row['device'] or 'device'}")
            if (row["nodes"] or 1) > 1:
                words[0] += f" on {row['nodes']} nodes"
            words += filter(None, [batch_text(row)])
        else:
            words += [row["operation"]] if table.name == "array" else []
            words += [str(method), counted(workers or None, BY_TABLE[table.name].worker)]
        words += [
            f"{name.replace('_', ' ')} {row[name]}"
            for name in table.distinguishing
            if row.get(name) is not None
        ]
        return ", ".join(words)

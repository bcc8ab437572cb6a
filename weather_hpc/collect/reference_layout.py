"""How a table of a reference is read: what kind it is, and which column is which."""

import re
from collections.abc import Sequence
from dataclasses import replace

from weather_hpc.collect.reference_cells import decimal_sign, is_absent, rate
from weather_hpc.collect.reference_heads import COUNTS, PER_NODE, Column, column, columns
from weather_hpc.collect.reference_row import IDENTITY, MEASUREMENTS, SETTINGS, Layout
from weather_hpc.collect.table_file import TextTable
from weather_hpc.errors import UserError
from weather_hpc.study.spec import Stage
from weather_hpc.study.tasks import Backend, Strategy

_FOREIGN = ("scaling", "image_size_px", "images", "model", "epochs", "threads_per_rank")
"""The settings read from foreign tables, where a column ``precision`` may be a score."""

_OUR_COLUMNS = {"baseline", "runs"}

_DITTO = re.compile(r"[\"″”〃]|''|\^\^|ditto", re.IGNORECASE)
"""The same as above."""


def is_own(header: Sequence[str]) -> bool:
    """Whether it is the header of a table of ours."""
    return set(header) >= _OUR_COLUMNS


def is_usable(table: TextTable) -> bool:
    """Whether it has measurements, and how many workers they are of."""
    found = _without_wrong_units(table, named(table)[0])
    has_count = found.keys() & set(COUNTS) or (found.keys() & set(PER_NODE) and "nodes" in found)
    return bool(found.keys() & set(MEASUREMENTS) and has_count)


def _cells(table: TextTable, head: str) -> list[str]:
    """What stands in one column."""
    index = table.header.index(head)
    return [cells[index] for _, cells in table.rows if len(cells) > index]


def named(table: TextTable) -> tuple[dict[str, Column], list[list[str]]]:
    """See :func:`columns`."""
    own = is_own(table.header)
    settings = (setting for of_table in SETTINGS.values() for setting in of_table)
    identity = (column for of_table in IDENTITY.values() for column in of_table)
    ends = [f"{name}_{end}" for name in MEASUREMENTS for end in ("low", "high")]
    names = ("study", *identity, *(settings if own else _FOREIGN), *MEASUREMENTS, *ends)
    if own:  # images_per_s follows from its time
        found = {head: Column(head, head) for head in table.header if head in names}
        found.pop("images_per_s", None)
        return found, []
    return columns(table.header, [_cells(table, head) for head in table.header], names)


def with_units(table: TextTable) -> TextTable:
    """``table`` with the units of a row below its header, or of a column ``unit``, in its header.

    Raises UserError for a column of several units.
    """
    table = _with_unit_column(table)
    if not table.rows or len(table.rows[0][1]) != len(table.header):
        return table
    units = table.rows[0][1]
    words = [unit.strip("()[] ") for unit in units]
    is_row = re.compile(r"(?:[a-zµ%#/.\s-]*|h+:mm(?::ss)?|mm:ss)", re.IGNORECASE)
    times = [
        re.fullmatch(r"(?:[a-z]+/)?(?:m?s|sec|seconds?|min|minutes?|h|hours?)", word, re.IGNORECASE)
        for word in words
    ]
    if not any(times) or not all(map(is_row.fullmatch, words)):
        return table
    header = [
        f"{head} ({word})" if word and word not in "-–#" else head
        for head, word in zip(table.header, words, strict=True)
    ]
    return replace(table, header=header, rows=table.rows[1:])


def with_repeated(table: TextTable) -> tuple[TextTable, str]:
    """``table`` with the text of the cell above where a cell says so, and the heads in which.

    Ditto marks do, and empty cells at a row's start below one with text: cells that were merged.
    """
    texts = [
        table.header.index(one.head)
        for name, one in named(table)[0].items()
        if name in ("model", "strategy", "backend", "device")
    ]
    filled, rows, above = [], [], [""] * len(table.header)
    for line, cells in table.rows:
        cells, starts = list(cells), True
        for at, text in enumerate(cells):
            starts = starts and not text
            if at in texts and above[at] and (starts or _DITTO.fullmatch(text)):
                cells[at] = above[at]
                filled.append(table.header[at])
        rows.append((line, cells))
        above = [*cells, *above[len(cells) :]]
    return replace(table, rows=rows), ", ".join(dict.fromkeys(filled))


def _with_unit_column(table: TextTable) -> TextTable:
    heads = [head for head in table.header if head.lower() in ("unit", "units")]
    time = named(table)[0].get("time_s")
    if not heads or time is None or time.unit is not None:
        return table
    units = set(_cells(table, heads[0]))
    head = f"{time.head} ({'/'.join(sorted(units))})"
    named_so = column(head)
    if named_so is None or named_so.unit is None:
        raise UserError(
            f"{table.path}:{table.line}: {heads[0]}: {', '.join(sorted(units))}: "
            "expected one unit of time for the whole column"
        )
    return replace(table, header=[head if h == time.head else h for h in table.header])


def layout_of(table: TextTable) -> Layout:
    """How to read the table. Raises UserError if its kind, or a column, is unclear."""
    header, where = table.header, f"{table.path}:{table.line}"
    found, doubtful = named(table)
    has = f"columns: {', '.join(header) or 'none'}"
    repeated = [head for head in header if head and header.count(head) > 1]
    if repeated:
        raise UserError(f"{where}: two columns are named {repeated[0]}")
    if doubtful:
        first, second, *_ = doubtful[0]
        name = next(name for name, column in found.items() if column.head == first)
        raise UserError(f"{where}: {first} or {second}? Expected only one column of {name}")
    found = _without_wrong_units(table, found)
    if not found.keys() & set(MEASUREMENTS):
        raise UserError(f"{where}: no column {' or '.join(MEASUREMENTS)}; {has}{_hint(table)}")
    if not is_usable(table):
        raise UserError(f"{where}: no column workers, world_size or gpus; {has}")
    for line, cells in table.rows:
        if len(cells) != len(header):
            raise UserError(
                f"{table.path}:{line}: {len(cells)} cells; the header has {len(header)}"
            )
    signs = {
        name: decimal_sign(_cells(table, column.head), table.comma_decimals)
        for name, column in found.items()
    }
    workers = [name for name in COUNTS if name in found]
    found = {name: one for name, one in found.items() if name not in workers[1:]}
    kind, strategy, found = _kind(table, found)
    layout = Layout(table.path, kind, found, strategy, signs=signs)
    return replace(layout, gpus_are_per_node=_gpus_are_per_node(where, table, layout))


def _kind(table: TextTable, found: dict[str, Column]) -> tuple[str, str | None, dict[str, Column]]:
    """The kind of a table, its strategy if its name has one, and its columns."""
    path = table.path
    backends = {str(backend) for backend in Backend}
    method = found.get("strategy")
    if method and "backend" not in found and set(_lower(table, method)) <= backends:
        found = {name: c for name, c in found.items() if name != "strategy"} | {"backend": method}
    trains = {"gpus", "gpus_per_node", "strategy", "batch_size_per_device",
              "batch_size_global"} & found.keys()  # fmt: skip
    if trains and "backend" in found and not set(_lower(table, found["backend"])) & backends:
        found = {name: column for name, column in found.items() if name != "backend"}  # nccl, say
    prefix = re.split(r"[_.\- ]", path.name.lower())[0]
    if "engine" in found:
        return "array", None, found
    if "backend" in found or (prefix == Stage.PREPROCESS and not trains):
        return ("eda" if path.name == "eda.csv" else "preprocess"), None, found
    if prefix in set(Strategy) and "strategy" not in found:
        return "training", prefix, found
    if not trains and prefix != "training":
        raise UserError(
            f"{path}:{table.line}: preprocessing or training? Expected a column backend or "
            "strategy, or a name such as preprocess.csv or ddp_nodes.csv; "
            f"columns: {', '.join(table.header)}"
        )
    return "training", None, found


def _lower(table: TextTable, column: Column) -> list[str]:
    return [cell.lower() for cell in _cells(table, column.head) if cell]


def _without_wrong_units(table: TextTable, found: dict[str, Column]) -> dict[str, Column]:
    """``found`` without a throughput that is not in images: its head has no unit."""
    column = found.get("images_per_s")
    if column is None or column.unit is not None or is_own(table.header):
        return found
    cells = _cells(table, column.head)
    try:
        for cell in cells:
            if not is_absent(cell):
                rate(cell, decimal_sign(cells, table.comma_decimals))
    except ValueError:
        return {name: other for name, other in found.items() if other is not column}
    return found


def _hint(table: TextTable) -> str:
    """Why a table that holds measurements may be without the columns that are wanted."""
    sizes = re.compile(r"\d+\s*[x×]?\s*(?:gpu|node|rank|worker)", re.IGNORECASE)
    in_heads = sum(head.isdigit() or bool(sizes.search(head)) for head in table.header)
    if in_heads > 1:
        return "; expected one row per configuration, not one column"
    if (
        sum(bool(re.match(r"(?:run|trial|repeat|rep|seed) ?#?\d", h, re.I)) for h in table.header)
        > 1
    ):
        return "; expected one row per repeat, not one column"
    for head in table.header:
        if re.search(r"throughput", head, re.IGNORECASE):
            return f"; {head} has no unit of images: name it images_per_s if it is that"
        if re.search(r"epoch|step|iter|batch", head, re.I) and re.search(
            r"time|sec|latency|\bs\b|\bms\b|_s\b", head, re.I
        ):
            return f"; {head} is not read as the time of a whole run"
        if re.search(r"efficiency", head, re.IGNORECASE):
            return "; an efficiency alone is not compared"
        if re.search(r"(?:gpu|node|core|cpu)[-_ ]?h(?:ou)?rs?\b", head, re.IGNORECASE):
            return f"; {head} is not read as the time of a run"
    return ""


def _gpus_are_per_node(where: str, table: TextTable, layout: Layout) -> bool:
    """Whether the column of GPUs is the number on each node, where the table has nodes too.

    Raises UserError where it may be either.
    """
    nodes, gpus = layout.columns.get("nodes"), layout.columns.get("gpus")
    if nodes is None or gpus is None or layout.per_node or "total" in gpus.head.lower():
        return False
    if layout.workers is not gpus:
        return False
    both = []
    for n, g in zip(_cells(table, nodes.head), _cells(table, gpus.head), strict=True):
        if n.isdigit() and g.isdigit() and int(n):
            both.append((int(n), int(g)))
    if all(n == 1 for n, _ in both):
        return False
    if any(0 < g < n for n, g in both):
        return True
    each = {g / n for n, g in both if n > 1}
    single = max((g for n, g in both if n == 1), default=None)
    if len(each) == 1 and len({n for n, _ in both}) > 1 and single in (None, *each):
        return False
    raise UserError(
        f"{where}: {nodes.head} and {gpus.head}: the GPUs of each node or of all? Expected "
        "a column named gpus_per_node or total_gpus"
    )

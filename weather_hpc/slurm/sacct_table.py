"""Tables that sacct prints, with any delimiter or in columns of fixed width, as lines by column."""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from weather_hpc.slurm.jobs import SACCT_FIELDS, status_of
from weather_hpc.text import clean

_NAMES = (
    "Account AdminComment AllocCPUS AllocGRES AllocNodes AllocTRES AssocID AveCPU AveCPUFreq "
    "AveDiskRead AveDiskWrite AvePages AveRSS AveVMSize BlockID Cluster Comment Constraints "
    "ConsumedEnergy ConsumedEnergyRaw Container CPUTime CPUTimeRAW DBIndex DerivedExitCode Elapsed "
    "ElapsedRaw Eligible End ExitCode Extra FailedNode Flags GID Group JobID JobIDRaw JobName "
    "Layout Licenses MaxDiskRead MaxDiskReadNode MaxDiskReadTask MaxDiskWrite MaxDiskWriteNode "
    "MaxDiskWriteTask MaxPages MaxPagesNode MaxPagesTask MaxRSS MaxRSSNode MaxRSSTask MaxVMSize "
    "MaxVMSizeNode MaxVMSizeTask McsLabel MinCPU MinCPUNode MinCPUTask NCPUS NNodes NodeList "
    "NTasks Partition Planned PlannedCPU PlannedCPURAW Priority QOS QOSRAW QOSREQ Reason "
    "ReqCPUFreq ReqCPUFreqGov ReqCPUFreqMax ReqCPUFreqMin ReqCPUS ReqGRES ReqMem ReqNodes ReqTRES "
    "Reservation ReservationId Reserved Restarts ResvCPU ResvCPURAW SLUID Start State StdErr StdIn "
    "StdOut Submit SubmitLine Suspended SystemComment SystemCPU Timelimit TimelimitRaw TotalCPU "
    "TRESUsageInAve TRESUsageInMax TRESUsageInMaxNode TRESUsageInMaxTask TRESUsageInMin "
    "TRESUsageInMinNode TRESUsageInMinTask TRESUsageInTot TRESUsageOutAve TRESUsageOutMax "
    "TRESUsageOutMaxNode TRESUsageOutMaxTask TRESUsageOutMin TRESUsageOutMinNode "
    "TRESUsageOutMinTask TRESUsageOutTot UID User UserCPU WCKey WCKeyID WorkDir"
)

FIELDS = frozenset(_NAMES.split())
"""The columns that sacct can print (``sacct --helpformat``)."""

IDS = frozenset({"JobID", "JobIDRaw"})

_READ = {*SACCT_FIELDS.split(","), *IDS, "Elapsed"} - {"JobName"}
"""Columns in which a part of a value would be a wrong one."""

_KNOWN = {name.lower(): name for name in FIELDS}
_FIELD = f"(?:{'|'.join(sorted(FIELDS, key=len, reverse=True))})"
_BETWEEN = (
    re.compile(rf"(?i){_FIELD}\"?([^\w\"]+)\"?{_FIELD}"),
    re.compile(rf"(?i){_FIELD}(.+?){_FIELD}"),
)
"""What separates two columns: signs, or else any text."""

_NAME = re.compile(r"[A-Za-z][\w/ ]*")
_RULER = re.compile(r"\s*-+(?:\s+-+)*\s*\Z")
_PREAMBLE = re.compile(
    r"\s*\Z|\s*(?:#|//|`{3}|~{3}|--?[A-Za-z])|sep=.\s*\Z|\s*\+(?:[-=]+\+)+\s*\Z"
    r"|[^|{\"]{0,99}\b(?:sacct|seff|squeue|scontrol|sinfo)(?::|\s|\Z)"
    r"|(?:\([\w.-]+\) )?(?:\[[^\]|]+\]|[\w.-]+@[\w.-]+[\w.:~/ -]*)? ?[$%#>❯](?:\s|\Z)"
)


def is_preamble(line: str) -> bool:
    """Whether ``line`` may surround a table: blank, a ruler, a comment, a shell's command."""
    return _PREAMBLE.match(line) is not None


UNNAMED = "it looks like accounting, but which of its values is what cannot be known"


class TableError(ValueError):
    """The table cannot be read; ``number`` is that of the line where this shows, from 1."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True)
class Header:
    """The columns of a table, and what separates them."""

    columns: list[str]
    delimiter: str
    """Blank where the columns have a fixed width."""
    spans: tuple[tuple[int, int], ...] = ()
    """Where columns of fixed width begin and end, in bytes; empty until known."""

    @property
    def by_width(self) -> bool:
        """Whether the columns have a fixed width."""
        return not self.delimiter.strip(" ")

    def ruled(self, ruler: str) -> "Header | None":
        """This header with the widths in ``ruler``, the dashes below it; None: it is no ruler."""
        spans = tuple(match.span() for match in re.finditer("-+", ruler))
        fits = _RULER.match(ruler) is not None and len(spans) == len(self.columns)
        return replace(self, spans=spans) if fits else None

    def cells(self, line: str) -> list[str] | None:
        """The values of ``line``, one per column; None where they do not fit the columns."""
        if self.by_width:
            return self._of_width(line)
        count = len(self.columns)
        if '"' in line and len(self.delimiter) == 1 and len(line) < csv.field_size_limit():
            cells = next(csv.reader([line], delimiter=self.delimiter))
            if len(cells) == count:
                return [cell.strip() for cell in cells]
        if self.delimiter.strip(",-"):
            cells = line.split(self.delimiter)
        else:  # node[1,3] is one value
            cells = re.split(re.escape(self.delimiter) + r"(?![^\[\]]*\])", line)
        return [cell.strip() for cell in cells] if len(cells) == count else None

    def _of_width(self, line: str) -> list[str] | None:
        text = line.rstrip().encode()  # sacct pads bytes
        edges = [0, *(edge for span in self.spans for edge in span), len(text)]
        if any(text[a:b].strip() for a, b in zip(edges[::2], edges[1::2], strict=True)):
            return None  # a value that is wider than its column
        return [text[start:end].decode(errors="replace").strip() for start, end in self.spans]


def header_of(line: str) -> Header | None:
    """The header that ``line`` is; None for any other line."""
    words = re.findall("[a-z]+", line.lower())
    if "jobid" not in line.lower() and len(_KNOWN.keys() & {*words}) < 2:
        return None  # found sooner than by the expressions
    for between in _BETWEEN:
        found = between.search(line)
        for delimiter in dict.fromkeys((found[1], found[1].strip(" "))) if found else ():
            header = _header(line, delimiter or " ")
            if header is not None:
                return header
    return Header([line.strip()], "|") if line.strip() in IDS else None


def _header(line: str, delimiter: str) -> Header | None:
    by_width = not delimiter.strip(" ")
    cells = [cell.strip().strip('"') for cell in line.split(None if by_width else delimiter)]
    columns = [_KNOWN.get(cell.lower(), cell) for cell in cells]
    known = FIELDS & {*columns}
    if len(known) < 2 or not all(_NAME.fullmatch(cell) for cell in cells if cell):
        return None
    if "JOBID" in cells:
        return None  # squeue's
    # sentences and other tables have words such as state and user, too
    if by_width:
        return Header(columns, delimiter) if IDS & {*cells} else None
    return Header(columns, delimiter) if IDS & known or {*cells} <= FIELDS | {""} else None


@dataclass
class Table:
    """Reads a table, or several below each other, with other lines around them."""

    read: int = 0
    """Lines that were read."""
    skipped: int = 0
    """Lines that are incomplete or not from sacct."""
    example: str = ""
    """What is wrong with the first of them."""
    cut: int = 0
    """Values that were cut to the width of their column, and are left out."""

    def rows(self, lines: Iterable[tuple[int, str]]) -> Iterator[dict[str, str]]:
        """The numbered ``lines`` of jobs and steps, by column; each has JobID and State.

        Raises TableError where a header is missing or lacks one of them, or where a fixed width
        has cut an id or a state.
        """
        header: Header | None = None
        for number, line in lines:
            if header is not None and header.by_width and not header.spans:
                if line.strip():
                    header = _ruled(header, line, number)
            elif not line[:1].isdigit() and (new := header_of(line)):
                if not IDS & {*new.columns}:
                    raise TableError(number, "has no column JobID")
                if "State" not in new.columns and not new.by_width:
                    raise TableError(number, "has no column State")
                header = new
            elif header is None:
                if not is_preamble(line):
                    raise TableError(number, f"no header line before it; {UNNAMED}")
            elif row := self._row(header, line, number):
                self.read += 1
                yield row
        if header is not None and header.by_width and not header.spans:
            raise TableError(1, "columns are cut to a width")

    def _row(self, header: Header, line: str, number: int) -> dict[str, str] | None:
        cells = header.cells(line)
        if cells is None:
            problem = "its values are wider than the columns"
            if not header.by_width:
                values = len(line.split(header.delimiter))
                problem = f"{values} values for {len(header.columns)} columns"
        else:
            row = dict(zip(header.columns, cells, strict=True))
            row.setdefault("JobID", row.get("JobIDRaw", ""))
            if header.spans:
                self._leave_out(row, header, number)
            if row["JobID"] and status_of(row["State"]) is not None:
                return row
            problem = f"{row['State']!r} is no state of a job"
        if line.strip(" |-+:=\t") and not is_preamble(line):
            self.skipped += 1
            self.example = self.example or f"line {number}: {problem}: {clean(line[:100])!r}"
        return None

    def _leave_out(self, row: dict[str, str], header: Header, number: int) -> None:
        """Empty what the width of its column has cut."""
        for column, (start, end) in zip(header.columns, header.spans, strict=True):
            cell = row[column]
            if not cell.endswith("+") or len(cell.encode()) < end - start or column not in _READ:
                continue
            if column not in {*IDS, "State"}:
                row[column] = ""
                self.cut += 1
            elif not (status_of(cell) if column == "State" else {".", "["} & {*cell}):
                raise TableError(number, f"columns are cut to a width, such as {cell!r}")


def _ruled(header: Header, line: str, number: int) -> Header:
    ruled = header.ruled(line)
    if ruled is None:
        raise TableError(number, "columns are cut to a width, and no line of dashes shows it")
    if "State" not in ruled.columns:
        raise TableError(number, "has no column State")
    return ruled

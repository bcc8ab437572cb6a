"""Heads of a reference: which column of ours each is, and in which unit it is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from weather_hpc.collect.reference_cells import IMAGE, SECONDS, count, rate_unit, singular

COUNTS = ("world_size", "ranks", "gpus", "procs", "processes", "workers", "cpus")
"""Names of our ``workers`` or ``world_size``; the first of them that a table has is used."""

PER_NODE = ("gpus_per_node", "workers_per_node")

_ALIASES = {
    "gpus": ("gpu", "total gpu", "gpu total", "accelerator", "card", "gpu card",
             "node x gpu", "node x gpu per node"),
    "ranks": ("rank", "mpi rank", "total rank", "task", "mpi task", "total task",
              "device", "total device"),
    "processes": ("process", "mpi process", "total process"),
    "procs": ("proc", "mpi proc", "total proc"),
    "workers": ("worker", "total worker"),
    "cpus": ("cpu", "core", "cpu core", "total cpu", "total core", "total cpu core"),
    "nodes": ("node", "host", "server", "machine", "compute node", "total node"),
    "gpus_per_node": tuple(f"{a} per {b}" for a in ("gpu", "device")
                           for b in ("node", "host", "server", "machine")),
    "workers_per_node": ("ppn", *(f"{a} per node" for a in ("rank", "process", "proc", "task",
                                                            "mpi rank", "worker"))),
    "batch_size_per_device": (
        "batch size", "batch", "bs", "bsz", "minibatch size", "mini batch size", "local batch size",
        "local batch", "bs per gpu", "per gpu bs",
        *(text for each in ("gpu", "device", "rank", "worker", "process") for text in (
            f"batch size per {each}", f"per {each} batch size", f"batch per {each}",
            f"{each} batch size", f"per {each} batch")),
    ),
    "batch_size_global": ("batch size global", "batch size total", "gbs", *(
        f"{word} {batch}" for batch in ("batch size", "batch", "bs")
        for word in ("global", "total", "effective", "overall"))),
    "strategy": ("method", "approach", "parallelism", "parallelization", "parallelisation",
                 "parallel strategy", "distribution strategy", "distributed strategy",
                 "training strategy", "parallel method", "training method"),
    "model": ("network", "architecture", "backbone", "net"),
    "epochs": ("epoch",),
    "images": ("image",),
}  # fmt: skip
"""Other names of our columns: words without ``number of`` and the like, in the singular."""

_PLURAL_ONLY = {"ranks", "procs", "processes", "workers", "cpus", "nodes", "epochs", "images"}
"""Columns that a head in the singular is not: ``Rank`` or ``Node`` is the name of one."""

_FILLERS = {"number", "num", "no", "nr", "n", "of", "the", "count", "used", "amount"}
"""Words that add nothing, except that what they stand before is a count."""

_GPU = re.compile(r"gpu|nvidia|tesla|[rg]tx|\b[avhpl]\d{1,3}s?\b|\bmi\d{2,3}", re.IGNORECASE)
"""A word for a GPU, or the name of a model."""

_MODEL = re.compile(r"[(\[](?![^)\]]*\b(?:per|gpus?)\b)[^)\]]*[)\]]", re.IGNORECASE)
"""Something in brackets: the model of the GPUs in ``GPUs (V100)`` where _GPU is in it."""

_SETUPS = {"configuration", "config", "setup", "hardware", "system"}
"""Heads of columns that may have ``4 GPUs`` in each cell."""

_REPEAT = {
    "run", "repeat", "trial", "seed", "rep", "repetition", "replicate", "replica", "attempt", "try",
    "round",
}  # fmt: skip

_TIME = {"time", "walltime", "wallclock", "elapsed", "runtime", "duration"}
_OF_TIME = _TIME | {
    "total", "train", "training", "wall", "clock", "run", "running", "execution", "exec", "overall",
    "measured", "mean", "average", "avg", "median", "in", "to", "solution", "full", "taken",
    "spent", "needed", "required", "processing", "preprocessing", "t",
} | _FILLERS  # fmt: skip
"""Words of a head that is the time of a whole run; any other makes it another time."""

_OF_RATE = {
    "throughput", "train", "training", "speed", "rate", "total", "overall", "aggregate", "global",
    "average", "avg", "mean", "median", "performance", "processing", "preprocessing", "in",
} | _FILLERS  # fmt: skip
_OF_SHARE = {"test", "val", "valid", "validation", "eval", "top", "1", "top1", "acc", "acc1",
             "accuracy", "final", "in", "percent", "at"}  # fmt: skip

_QUALIFIERS = _FILLERS | {
    "final", "mean", "average", "avg", "median", "max", "min", "peak", "total", "gpu", "cpu", "per",
    "epoch", "step", "train", "training", "val", "valid", "validation", "test", "eval", "in",
    "used", "usage", "allocated", "reserved", "gb", "gib", "mb", "mib", "w", "kw", "kwh", "wh", "j",
    "c", "1", "5", "relative", "parallel", "strong", "weak", "vs", "x", "image", "img", "sample",
    "list", "name", "factor", "percent", "ratio", "baseline",
}  # fmt: skip
_OF_MEASURED = _QUALIFIERS | _REPEAT | _TIME | {
    "loss", "acc", "accuracy", "top1", "top5", "top", "memory", "mem", "vram", "power", "energy",
    "util", "utilization", "utilisation", "speedup", "speed", "up", "efficiency", "eff",
    "throughput", "s", "sec", "second", "ms", "h", "hour", "date", "day", "timestamp", "host",
    "hostname", "node", "nodename", "nodelist", "job", "jobid", "id", "index", "start", "started",
    "end", "finished", "std", "stdev", "stddev", "ci", "error", "temperature", "comment", "note",
    "remark", "scaling", "gain", "cost", "state", "status",
}  # fmt: skip
"""Words of heads of columns in which repeats of one configuration may differ."""

_BESIDE = re.compile(
    r"(?:±|\+/?-)\s*[a-zσ]*|(?:higher|lower|larger|smaller|more|less) is better"
    r"|end[- ]to[- ]end|e2e"
)
"""Words that say nothing of what is measured: ``Time ± std, lower is better``."""

_CLOCK = re.compile(
    r"\bh(?:h|r|rs|ours?)?:m+(?:ins?)?(?::s+(?:ecs?)?)?\b|\bm+(?:ins?)?:s+(?:ecs?)?\b"
)


@dataclass(frozen=True)
class Column:
    """One column of a reference."""

    head: str
    """As the file has it."""
    name: str
    """One of our columns, of COUNTS or PER_NODE, or ``repeat``."""
    unit: float | None = None
    """Seconds, or images per second, in its unit; None: the head has none."""
    clock: str = ""
    """``h:m`` or ``m:s`` where its head says so of times such as 1:05."""
    percent: bool = False
    per_device: bool = False
    """Whether a rate is that of one GPU or rank."""

    @property
    def counts_gpus(self) -> bool:
        """Whether it is a number of GPUs."""
        return self.name in ("gpus", "gpus_per_node")


def column(head: str) -> Column | None:
    """What ``head`` is: one of our columns with its unit, ``repeat``, or None."""
    words = _words(head)
    found = _setting(head, words) or _time(head, words) or _rate(head, words)
    if found is not None:
        return found
    if words in (["speedup"], ["speed", "up"], ["speedup", "x"], ["speedup", "factor"]):
        return Column(head, "speedup")
    share = {"acc", "accuracy", "top1", "acc1"} & set(words) or words[:2] == ["top", "1"]
    if share and set(words) <= _OF_SHARE:
        return Column(head, "test_accuracy", percent="%" in head or "percent" in words)
    return None


def is_measured(head: str) -> bool:
    """Whether a column that is not used holds what was measured, or which run it was.

    Repeats of one configuration may differ in such columns.
    """
    words = set(_words(head))
    return words <= _OF_MEASURED and (not words or bool(words - _QUALIFIERS))


def _words(head: str) -> list[str]:
    """The words of a head in the singular: ``numGPUs``, ``Batch size/GPU`` and ``# GPUs``."""
    head = _MODEL.sub(lambda found: " " if _GPU.search(found[0]) else found[0], head)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", head.replace("GPUs", " gpus")).lower()
    text = _BESIDE.sub(" ", text)
    text = _CLOCK.sub(" ", text.replace("batchsize", "batch size").replace("×", " x "))
    text = re.sub(r"\bs\s*(?:-1|\^-1|⁻¹)", "per s", text.replace("/", " per ")).replace("#", " n ")
    words = [singular(word) for word in re.findall(r"[a-zµμ]+\d?|\d+", text)]
    return [w for word in words for w in _split_n(word)]


def _split_n(word: str) -> list[str]:
    found = re.fullmatch(r"n(gpu|node|proc|process|task|rank|worker)", word)
    return ["n", found[1]] if found else [word]


def _setting(head: str, words: Sequence[str]) -> Column | None:
    plain = [word for word in words if word not in _FILLERS]
    text = " ".join(plain)
    written = re.findall("[a-z]+", head.lower())
    plural = len(plain) < len(words) or any(singular(word) != word for word in written)
    for name, aliases in _ALIASES.items():
        if text in aliases and (plural or name not in _PLURAL_ONLY):
            return Column(head, name)
    if plain and set(plain) <= _REPEAT | {"index"} and plain[0] in _REPEAT:
        return Column(head, "repeat")
    return None


def _time(head: str, words: Sequence[str]) -> Column | None:
    """A head such as ``Time (s)``, ``time_h`` and ``Duration/minutes``."""
    words = [word for word in words if word != "per"]
    units = [word for word in words if word in SECONDS]
    others = [word for word in words if word not in SECONDS]
    clock = _CLOCK.search(head.lower())
    if len(units) > 1 or not set(others) <= _OF_TIME:
        return None
    if units and "min" in units and words[0] == "min":
        return None  # the minimum
    # a column Day or Hour is none of times, one of minutes is
    spelled = bool(re.fullmatch(r"secs?|[a-z]{3,}s", head.strip().lower())) and bool(units)
    if not (_TIME & set(others) or (units and others and set(others) - _FILLERS) or spelled):
        return None
    if others == ["t"] and not units:
        return None
    of_two = "" if clock is None else re.sub(r"(\w)\w*", r"\1", clock[0])
    return Column(head, "time_s", SECONDS[units[0]] if units else None, of_two)


def _rate(head: str, words: Sequence[str]) -> Column | None:
    """A head such as ``Img/sec`` and ``Throughput (samples/s/GPU)``; ``Throughput`` has no unit."""
    rest, per_device = [*words], False
    for each in ("gpu", "device", "rank", "worker"):
        if each in rest[1:] and rest[rest.index(each) - 1] == "per":
            at = rest.index(each)
            rest, per_device = rest[: at - 1] + rest[at + 1 :], True
    units = [word for word in rest if word in IMAGE or word in SECONDS or word in ("per", "fps")]
    if not set(rest) - set(units) <= _OF_RATE:
        return None
    unit = rate_unit(" ".join(units)) if "per" in units or units == ["fps"] else None
    if unit is None and (units or "throughput" not in rest):
        return None
    return Column(head, "images_per_s", unit, per_device=per_device)


def columns(
    header: Sequence[str], cells: Sequence[Sequence[str]], ours: Sequence[str]
) -> tuple[dict[str, Column], list[list[str]]]:
    """The columns of a table by our names, and groups of heads of which one alone can be meant.

    ``cells`` are those of each column; ``ours`` are the names that a head may have literally,
    which come before all others.
    """
    found: dict[str, list[Column]] = {}
    literal: dict[str, Column] = {}
    largest = any({"max", "maximum"} & set(_words(head)) for head in header)
    for head, own in zip(header, cells, strict=True):
        name = re.sub(r"\W+", "_", head.lower()).strip("_")
        one = column(head)
        if one is None and name in ours:
            one = Column(head, name)
        if one is None and name in _SETUPS and own and all(map(_is_count_of_gpus, own)):
            one = Column(head, "gpus")
        if one is None or (one.name == "gpus" and not _has_counts(head, own)):
            continue
        if one.unit == 60 and largest and re.search(r"min\b", head.lower()):
            continue  # the minimum, beside a maximum
        if head in ours:
            literal[one.name] = one
        found.setdefault(one.name, []).append(one)
    for name in COUNTS:
        totals = [one for one in found.get(name, []) if "total" in one.head.lower()]
        if len(totals) == 1:
            found[name] = totals
    chosen = {name: literal.get(name, of_name[0]) for name, of_name in found.items()}
    doubtful = [
        [one.head for one in of_name]
        for name, of_name in found.items()
        if len(of_name) > 1 and name not in literal and name != "repeat"
    ]
    return chosen, doubtful


def _has_counts(head: str, cells: Sequence[str]) -> bool:
    """Whether a column is a number of GPUs; ``GPU`` may have the names of models."""
    if singular(head.lower()) != head.lower() or len(_words(head)) > 1:
        return not cells or any(cell[:1].isdigit() for cell in cells)
    return all(map(_is_count, cells))


def _is_count_of_gpus(cell: str) -> bool:
    return bool(_GPU.search(cell)) and _is_count(cell)


def _is_count(cell: str) -> bool:
    try:
        return bool(count(cell))
    except ValueError:
        return False

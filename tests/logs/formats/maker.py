"""Whole logs of named programs: what reading them must give."""

from pathlib import Path

from tests.logs.maker import finding_codes, read_text
from weather_hpc.runs.row import Reading

SRUN = "0: "
TORCHRUN = "[default0]:"
MPIRUN = "[1,0]<stdout>:"


def prefixed(prefix: str, text: str) -> str:
    """``text`` with ``prefix`` before each line, as a launcher adds it."""
    return "".join(f"{prefix}{line}\n" for line in text.splitlines())


def read(folder: Path, text: str, name: str = "ddp_4gpu_bs64.log") -> Reading:
    """The reading of one log of 4 GPUs."""
    return read_text(folder, text, name)


def check(reading: Reading, *codes: str, **expected: object) -> None:
    """The row has the values ``expected``, and the audit no other findings than ``codes``."""
    found = {name: getattr(reading.row, name) for name in expected}
    assert found == expected, f"{found}; {reading.row.reason}"
    assert finding_codes(reading) == set(codes), reading.findings

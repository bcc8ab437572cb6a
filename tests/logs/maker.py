"""Logs as the study printed them, and the reading of one."""

from pathlib import Path

from weather_hpc.logs import parse_pattern, read_logs
from weather_hpc.runs.row import Reading

PATTERN = parse_pattern("ddp_{gpus}gpu_bs{batch_size}.log")


def epoch_line(rank: int, epoch: int, **values: object) -> str:
    """One line of values; they differ by rank and epoch unless given."""
    loss = values.get("loss", f"{2 - epoch / 20 + rank / 100:.3f}")
    accuracy = values.get("accuracy", f"{0.3 + epoch / 50:.2f}")
    time = values.get("time", f"{4 + rank / 100 + epoch / 1000:.3f}")
    return f"Rank: {rank} || Epoch: {epoch} || Loss: {loss} || Accuracy: {accuracy} || Time: {time}"


def log_lines(ranks: int = 2, epochs: int = 20) -> list[str]:
    """A sound log's lines."""
    lines = [epoch_line(rank, epoch) for epoch in range(epochs) for rank in range(ranks)]
    for rank in range(ranks):
        lines += [f"Number of available GPUs: {ranks}", f"{4.1 * epochs + rank / 1000:.9f}"]
    return lines


def read_text(folder: Path, text: str | bytes, name: str = "ddp_2gpu_bs32.log") -> Reading:
    """The one reading of a log with the content ``text``."""
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    (reading,) = read_logs([file], PATTERN if name.startswith("ddp_") else None)
    return reading


def read_lines(folder: Path, lines: list[str], name: str = "ddp_2gpu_bs32.log") -> Reading:
    """The one reading of a log with these lines."""
    return read_text(folder, "\n".join(lines) + "\n", name)


def finding_codes(reading: Reading) -> set[str]:
    """The codes of all findings but the one that every first log with a pattern has."""
    return {str(f.code) for f in reading.findings if f.code != "batch_semantics"}

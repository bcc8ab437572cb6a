"""Logs of many programs: prefixes, separators, units, and formats that a user writes."""

import re
from pathlib import Path

import pytest

from tests.logs.maker import epoch_line, finding_codes, log_lines, read_lines
from weather_hpc.errors import UserError
from weather_hpc.logs import formats, read_logs, reader
from weather_hpc.logs.log_format import LineRule
from weather_hpc.logs.prefixes import PREFIXES
from weather_hpc.runs.row import Reading


@pytest.mark.parametrize(
    "prefix",
    [
        "[rank0]: ", "[default1]:", "0: ", "[1,0]<stdout>:", "INFO:root:", "[INFO] ",
        "2023-05-01 12:00:00,123 - train - INFO - ", "2023-05-01T12:00:00Z ", "[12:00:00] ",
        "100%|\u2588\u2588| 215/215 [00:04<00:00, 48.9it/s]", "\x1b[32m",
        "[#####] | 100% Completed | 4.00 s",
    ],
)  # fmt: skip
def test_what_launchers_put_in_front(tmp_path: Path, prefix: str) -> None:
    plain = read_lines(tmp_path, log_lines())
    reading = read_lines(tmp_path, [prefix + line for line in log_lines()])
    assert (reading.row, reading.content) == (plain.row, plain.content)
    assert finding_codes(reading) == set()


def test_units_and_case(tmp_path: Path) -> None:
    lines = [
        epoch_line(r, e, loss="1.5e-1", accuracy=f"{50 + e} %", time="4.000s").upper().replace(
            "EPOCH:", "Epoch:").replace("S", "s")
        for e in range(20) for r in range(2)
    ]  # fmt: skip
    row = read_lines(tmp_path, [*lines, "80.123456789", "80.12345678"]).row
    assert (row.train_loss, row.train_accuracy, row.time_s) == (0.15, 0.69, 80.123456789)


def test_percent_without_a_sign(tmp_path: Path) -> None:
    lines = [epoch_line(0, e, accuracy=50 + e, time="4") for e in range(20)]
    reading = read_lines(tmp_path, [*lines, "80.1"], "ddp_1gpu_bs32.log")
    assert (reading.row.train_accuracy, finding_codes(reading)) == (0.69, set())
    lines[-1] = epoch_line(0, 19, accuracy=93.21, time="4")
    row = read_lines(tmp_path, [*lines, "80.1"], "ddp_1gpu_bs32.log").row
    assert row.train_accuracy == 0.9321


def test_times_that_count_from_the_start(tmp_path: Path) -> None:
    lines = [epoch_line(0, e, time=f"{4 * (e + 1)}") for e in range(20)]
    reading = read_lines(tmp_path, [*lines, "80.1"], "ddp_1gpu_bs32.log")
    assert (reading.row.table, finding_codes(reading)) == ("training", set())


def test_values_next_to_words(tmp_path: Path) -> None:
    lines = ["World size: 1", "Batch size: 64"]
    lines += [f"Epoch [{e}/20], Loss: 0.5, Train Acc: {e}.5%, Val Acc: 0.{e + 10}, Time: 4.4s"
              for e in range(1, 21)]  # fmt: skip
    reading = read_lines(tmp_path, [*lines, "Training took 88.5 seconds"], "mine.log")
    row = reading.row
    assert finding_codes(reading) == set()
    assert (row.time_s, row.epochs, row.epochs_done, row.workers) == (88.5, 20, 20, 1)
    assert (row.batch_size_per_device, row.train_accuracy, row.test_accuracy) == (64, 0.205, 0.30)


def test_epochs_from_one_are_known_by_the_time(tmp_path: Path) -> None:
    lines = [epoch_line(0, e, time="4.0") for e in range(1, 21)]
    counted = read_lines(tmp_path, [*lines, "80.5"], "ddp_1gpu_bs32.log")
    assert (counted.row.epochs_done, finding_codes(counted)) == (20, set())
    cut = read_lines(tmp_path, [*lines, "84.5"], "ddp_1gpu_bs32.log")
    assert finding_codes(cut) == {"incomplete_epochs"}
    assert "epoch 0 is cut off or epochs count from 1" in cut.findings[0].message


MINE = """\
lines:
  - 'it (?P<epoch>\\d+) of (?P<epochs>\\d+) err=(?P<loss>\\S+) ok=(?P<accuracy_percent>\\S+) t=(?P<time_ms>\\d+)'
  - 'all done after (?P<total_min>\\S+) minutes'
  - 'procs (?P<world_size>\\d+), (?P<train_images>\\d+) images'
first_epoch: 1
"""  # noqa: E501 - a regular expression


def _read(tmp_path: Path, yaml: str, log: str) -> list[Reading]:
    (tmp_path / "mine.yaml").write_text(yaml)
    (tmp_path / "a.log").write_text(log)
    known = formats([str(tmp_path / "mine.yaml"), "study"])
    return list(read_logs([tmp_path / "a.log"], known=known))


def test_a_format_of_ones_own(tmp_path: Path) -> None:
    log = "procs 2, 600 images\n"
    log += "".join(f"it {e} of 3 err=0.{e} ok=5{e}.5 t=20000\n" for e in (1, 2, 3))
    (reading,) = _read(tmp_path, MINE, log + "all done after 1.5 minutes\n")
    row = reading.row
    assert (row.table, row.time_s, row.workers, row.images) == ("training", 90.0, 2, 600)
    assert (row.train_accuracy, row.train_loss, row.epochs_done) == (0.535, 0.3, 3)
    assert row.images_per_s == 20.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("91.2", 91.2), ("91.2 s", 91.2), ("91200ms", 91.2), ("1m31.2s", 91.2), ("1.52 min", 91.2),
        ("0:01:31.2", 91.2), ("1 hour, 2 minutes", 3720.0), ("1h 2m 3s", 3723.0), ("1e2", 100.0),
        ("1 day, 1:00:04", 90004.0), ("2 days, 0:00:01.5", 172801.5), ("1-01:00:04", 90004.0),
    ],
)  # fmt: skip
def test_an_empty_group_is_of_the_usual_text(tmp_path: Path, text: str, seconds: float) -> None:
    yaml = "lines: ['e(?P<epoch>) (?P<loss>)$', 'run (?P<total>)$', 'of (?P<world_size>)$']\n"
    (reading,) = _read(tmp_path, yaml, f"e0 .5\ne1 4e-1\nof 1\nrun {text}\n")
    assert reading.row.train_loss == 0.4
    assert reading.row.time_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("'(?P<epoch>\\d+'", "mine.yaml:1: lines[0]: not a regular expression: missing )"),
        ("'(?P<epok>\\d+)'", "did you mean 'epoch'?"),
        ("'epoch \\d+'", "has no named group"),
        ("'(?P<epoch>\\d*)'", "matches an empty line"),
        ("'(?i)(?P<epoch>\\d+)'", "case is ignored anyway"),
        ("'(?P<time_s>\\d+) (?P<time_ms>\\d+)'", "one value is named twice"),
    ],
)
def test_a_wrong_expression_is_reported_with_its_place(
    tmp_path: Path, line: str, message: str
) -> None:
    with pytest.raises(UserError) as error:
        _read(tmp_path, f"lines: [{line}]\n", "")
    assert message in str(error.value)


def test_a_wrong_key_and_a_wrong_name() -> None:
    with pytest.raises(UserError, match="no known format; did you mean 'study'"):
        formats(["studdy"])


def test_an_expression_that_never_ends_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "SLOWEST_BLOCK_S", 0.2)
    with pytest.raises(UserError, match="a repeat inside a repeat"):
        _read(tmp_path, "lines: ['(?P<loss>(a+)+)b']\n", "a" * 60 + "\n")


RULES = [
    (form.name, number, rule)
    for form in formats()
    for number, rule in enumerate(form.file.lines)
]  # fmt: skip


@pytest.mark.parametrize(("name", "number", "rule"), RULES, ids=lambda value: str(value)[:20])
def test_each_expression_reads_its_examples(name: str, number: int, rule: LineRule) -> None:
    """Within its format too, where another expression could match before it."""
    (form,) = formats((name,))
    assert rule.example, "a shipped expression has an example"
    for line in rule.example:
        match = form.regex.match(line.encode())
        assert match is not None, line
        assert match[f"line{number}"] is not None, line


@pytest.mark.parametrize(("prefix", "example"), PREFIXES, ids=lambda value: str(value)[:20])
def test_each_prefix_matches_its_example_and_is_skipped(prefix: bytes, example: bytes) -> None:
    assert re.search(b"(?xi)" + prefix, example)
    (study,) = formats(("study",))
    line = example + b" " + epoch_line(0, 3).encode()
    match = study.regex.match(line)
    assert match is not None
    assert match["line0"] == epoch_line(0, 3).encode()


def test_an_example_that_does_not_match_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("lines:\n  - regex: 'epoch (?P<epoch>\\d+)'\n    example: Epoch three\n")
    with pytest.raises(UserError, match=r"mine.yaml:2: lines\[0\]: does not match its example"):
        formats((str(path),))


def test_a_format_that_is_named_needs_no_signature(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("epoch 1/1: 0.5\nTotal time: 9 s\n")
    yaml = "signature: not there\nlines: ['epoch (?P<epoch>)/(?P<epochs>): (?P<loss>)']\n"
    (tmp_path / "mine.yaml").write_text(yaml)
    known = formats([str(tmp_path / "mine.yaml")])
    (reading,) = read_logs([tmp_path / "a.log"], known=known)
    assert (reading.row.train_loss, reading.row.time_s) == (0.5, 9)

"""What is read off names: patterns, run ids, and which files are logs."""

from pathlib import Path

import pytest

from tests.logs.maker import PATTERN, log_lines, read_lines
from weather_hpc.errors import UserError
from weather_hpc.logs import find_logs, parse_pattern, read_logs
from weather_hpc.logs.reader import names


def test_fields_become_columns() -> None:
    pattern = parse_pattern("{strategy}/{nodes}n_{gpus}gpu_b{batch_size_global}_*_r{repeat}.log")
    assert pattern.read(Path("x/DistributedDataParallel/2n_8gpu_b256_tuesday_r0.log.gz")) == {
        "strategy": "ddp", "nodes": 2, "workers": 8, "batch_size_global": 256, "repeat": 0,
        "device": "cuda",
    }  # fmt: skip
    assert pattern.read(Path("2n_8gpu_b256_x_r0.log")) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{gpu}.log", "{gpu} is kept in no column; did you mean 'gpus'?"),
        ("{_}.log", "{_} is kept in no column"),
        ("{gpus}_{ranks}.log", "say the same twice"),
        ("run.log", "has no {field}"),
        ("{gpus.log", "a brace itself is written twice"),
        ("{gpus:d}.log", "only a name goes between the braces"),
        ("{}.log", "is kept in no column"),
    ],
)
def test_a_wrong_pattern_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        parse_pattern(text)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["notes.txt", "ddp_0gpu_bs32.log"])
def test_a_name_that_does_not_fit_is_a_reject(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\n".join(log_lines()))
    (reading,) = read_logs([tmp_path / name], PATTERN)
    assert (reading.row.status, reading.row.table) == ("skipped", None)
    assert reading.row.reason


def test_repeats_share_a_configuration(tmp_path: Path) -> None:
    pattern = parse_pattern("g{gpus}_r{repeat}_{job_id}.log")
    files = [tmp_path / name for name in ("g2_r0_11.log", "g2_r1_12.log", "g1_r0_13.log")]
    for file in files:
        file.write_text("\n".join(log_lines()) + "\n")
    first, second, other = (r.row for r in read_logs(files, pattern))
    assert first.configuration == second.configuration != other.configuration
    assert (first.repeat, second.repeat, second.slurm_job_id) == (0, 1, "12")
    alone = [r.row.configuration for r in read_logs(files)]
    assert len(set(alone)) == 3


def test_a_batch_size_that_the_log_contradicts_is_told(tmp_path: Path) -> None:
    lines = ["Epoch 1/1, Loss: 0.5", "Total time: 9 s"]
    reading = read_lines(tmp_path, ["Batch size per GPU: 8", *lines])
    assert (reading.row.batch_size_per_device, reading.row.batch_size_global) == (32, 64)
    assert "its name says 32 images per device, its lines 8" in str(reading.findings)
    same = read_lines(tmp_path, ["Batch size per GPU: 32", *lines])
    assert "its lines" not in str(same.findings)


def test_batch_semantics_are_reported_once(tmp_path: Path) -> None:
    files = [tmp_path / f"ddp_2gpu_bs{n}.log" for n in (32, 64)]
    for file in files:
        file.write_text("\n".join(log_lines()) + "\n")
    codes = [str(f.code) for r in read_logs(files, PATTERN) for f in r.findings]
    assert codes.count("batch_semantics") == 1


def test_run_ids_are_unique() -> None:
    files = [Path(p) for p in ("a/run.log", "b/run.log", "a/run.out", "c/x.log.gz")]
    assert names(files) == ["a/run.log", "b/run.log", "run.out", "x"]


def test_logs_are_found_and_our_own_runs_left_out(tmp_path: Path) -> None:
    for name in ("a.log", "b.out", "c.o123", "d.log.gz", "e.csv", "own/stdout.log", ".f.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "own" / "record.json").touch()
    found = [file.name for file in find_logs([tmp_path, tmp_path / "a.log"])]
    assert found == ["a.log", "b.out", "c.o123", "d.log.gz"]
    with pytest.raises(UserError, match="no such file or folder"):
        find_logs([tmp_path / "none"])


def test_without_a_pattern_the_log_itself_speaks(tmp_path: Path) -> None:
    row = read_lines(tmp_path, log_lines(), "job.log").row
    assert (row.table, row.workers, row.strategy, row.batch_size_per_device) == (
        "training", 2, None, None,
    )  # fmt: skip
    assert (row.study, row.device, row.source) == (tmp_path.name, "cuda", f"{tmp_path}/job.log")

"""stdout and stderr of a job in two files: one run, unless they hold two."""

from pathlib import Path

import pytest

from tests.logs.maker import PATTERN, epoch_line, finding_codes, log_lines
from weather_hpc.logs import parse_pattern, read_logs
from weather_hpc.logs.streams import jobs
from weather_hpc.runs.row import Reading

LIMIT = "slurmstepd: error: *** JOB 42 ON n1 CANCELLED AT 2022-04-14T16:20:46 DUE TO TIME LIMIT ***"
EPOCHS = [epoch_line(0, epoch) for epoch in range(20)]
TOTAL = "Total training time: 81.5 s"
ANY = parse_pattern("ddp_{gpus}gpu_bs{batch_size}.*")


def _read(
    folder: Path, out: list[str], err: list[str], stem: str = "ddp_1gpu_bs32"
) -> list[Reading]:
    files = [folder / f"{stem}.{stream}" for stream in ("err", "out")]
    for file, lines in zip(files, (err, out), strict=True):
        file.write_text("\n".join(lines) + "\n")
    return list(read_logs(files, ANY))


@pytest.mark.parametrize(
    ("out", "err"),
    [
        ("a.out", "a.err"), ("a.o41", "a.e41"), ("a.o41.3", "a.e41.3"), ("a.stdout", "a.stderr"),
        ("a_out.txt", "a_err.txt"), ("log.out", "log.err"), ("7_0_log.out", "7_0_log.err"),
        ("stdout.log", "stderr.log"), ("a.out.gz", "a.err"), ("out_3.txt", "err_3.txt"),
        ("a.output", "a.error"), ("a.log", "a.err"), ("a.OU", "a.ER"), ("A.out", "A.err"),
        ("slurm-41_3.out", "slurm-41_3.err"),
    ],
)  # fmt: skip
def test_names_of_a_jobs_two_files(out: str, err: str) -> None:
    folder = Path("runs")
    assert jobs([folder / err, folder / out]) == [(folder / out, folder / err)]
    assert jobs([Path("other") / err, folder / out]) == [(Path("other") / err,), (folder / out,)]


@pytest.mark.parametrize(
    ("one", "other"),
    [("rank0.out", "rank1.out"), ("a.out", "b.err"), ("a.o41", "a.e42"), ("a.out", "a.log"),
     ("a.stdout", "a.err"), ("layout.txt", "layerr.txt"), ("a_o10.log", "a_e10.log"),
     ("outer.log", "errer.log")],
)  # fmt: skip
def test_names_of_different_jobs(one: str, other: str) -> None:
    assert jobs([Path(one), Path(other)]) == [(Path(one),), (Path(other),)]


def test_a_log_beside_both_is_a_run_of_its_own() -> None:
    files = [Path(name) for name in ("a.err", "a.log", "a.out")]
    assert jobs(files) == [(Path("a.log"),), (Path("a.out"), Path("a.err"))]


def test_how_the_job_ended_is_in_the_other_file(tmp_path: Path) -> None:
    (reading,) = _read(tmp_path, EPOCHS[:9], ["UserWarning: not writable", LIMIT])
    row = reading.row
    assert (row.run_id, row.source) == ("ddp_1gpu_bs32", str(tmp_path / "ddp_1gpu_bs32.out"))
    assert (row.status, row.slurm_job_id, row.epochs_done) == ("timeout", "42", 9)
    assert row.reason == f"no total in the log: {LIMIT}"


@pytest.mark.parametrize("turned", [False, True])
def test_epochs_in_one_file_and_the_total_in_the_other(tmp_path: Path, turned: bool) -> None:
    keyed = [f"Epoch {e}/20 - loss: {1 - e / 100:.2f} - acc: 0.5" for e in range(1, 21)]
    files = [TOTAL], ["World size: 1", *keyed]
    (reading,) = _read(tmp_path, *(files[::-1] if turned else files))
    row = reading.row
    assert (row.table, row.time_s, row.train_loss, row.epochs_done) == ("training", 81.5, 0.8, 20)
    assert row.source == str(tmp_path / "ddp_1gpu_bs32.out")


def test_what_both_print_counts_once(tmp_path: Path) -> None:
    slower = [line.replace("Time: 4", "Time: 5") for line in EPOCHS]
    finer = [epoch_line(0, e, loss=f"{2 - e / 20:.6f}") for e in range(20)]
    (reading,) = _read(tmp_path, [*finer, "81.5"], EPOCHS)
    assert (reading.row.table, reading.row.epochs_done) == ("training", 20)
    assert finding_codes(reading) == set()
    (reading,) = _read(tmp_path, [*EPOCHS, "81.5"], slower)
    assert [f.message for f in reading.findings if f.code == "duplicate_content"] == [
        "ddp_1gpu_bs32.err has other values for epoch 0; those of ddp_1gpu_bs32.out count"
    ]


def test_two_complete_runs_stay_apart(tmp_path: Path) -> None:
    other = [epoch_line(0, e, loss=f"{3 - e / 20}", time=f"5.{e:03d}") for e in range(20)]
    out, err = _read(tmp_path, [*EPOCHS, "81.5"], [*other, "101.5"])
    assert [(r.row.run_id, r.row.time_s) for r in (out, err)] == [
        ("ddp_1gpu_bs32", 81.5), ("ddp_1gpu_bs32.err", 101.5),
    ]  # fmt: skip
    for reading in (out, err):
        assert any("hold different runs" in f.message for f in reading.findings)


def test_a_pattern_that_fits_either_file(tmp_path: Path) -> None:
    for name, text in (("ddp_2gpu_bs32.log", "\n".join(log_lines())), ("ddp_2gpu_bs32.err", LIMIT)):
        (tmp_path / name).write_text(text + "\n")
    (reading,) = read_logs(sorted(tmp_path.iterdir()), PATTERN)
    assert (reading.row.table, reading.row.workers) == ("training", 2)


def test_a_damaged_second_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "ddp_2gpu_bs32.log").write_text("\n".join(log_lines()) + "\n")
    (tmp_path / "ddp_2gpu_bs32.err.gz").write_bytes(b"\x1f\x8bno")
    (reading,) = read_logs(sorted(tmp_path.iterdir()), PATTERN)
    assert reading.row.table == "training"
    assert any("ddp_2gpu_bs32.err.gz cannot be read" in f.message for f in reading.findings)

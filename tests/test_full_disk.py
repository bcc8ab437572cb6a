"""Full, read-only and forbidden file systems: one line names the file and the system's reason."""

import errno
import importlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.disks import Disk, mounted
from tests.records_maker import leave, measured, preprocess_spec
from weather_hpc import cli
from weather_hpc.dataset.space import reserve
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.files import replacing, write_text

Output = pytest.CaptureFixture[str]

NOBODY = 65534


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk") as made:
        yield made


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "images"
    make_synthetic(folder, 1)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one run."""
    folder = tmp_path_factory.mktemp("results") / "study"
    leave(folder, measured(preprocess_spec("sequential", 1), 2.0))
    return folder


def call(verb: str, *argv: object) -> int:
    """The exit code of a verb, as ``python -m weather_hpc.VERB`` has it."""
    module = importlib.import_module(f"weather_hpc.{verb}")
    main: cli.Main = (
        getattr(module, "main", None)
        or importlib.import_module(f"weather_hpc.{verb}.__main__").main
    )
    return cli.guarded(verb, main, list(map(str, argv)))


VERBS = {
    "synth": ("data", "synth", "--images-per-class", "1", "--out", "OUT"),
    "preprocess": ("preprocess", "--data", "IMAGES", "--size", "64", "--out", "OUT"),
    "a run": ("preprocess", "--data", "IMAGES", "--size", "64", "--run-dir", "OUT"),
    "collect": ("collect", "RESULTS", "--out", "OUT"),
    "jobs_folder": ("launch.jobs_folder", "OUT"),
    "check": ("check", "--only", "versions", "--out", "OUT"),
    "bench": ("bench", "collect", "--out", "OUT"),
    "sweep": ("sweep", "--study", "STUDY", "--executor", "local", "--results", "OUT"),
}
"""A call of each verb that writes; of training, exploration and prediction see their own tests."""

STUDY = """\
name: small
repeats: 2
image_size: 64
synthetic: {images_per_class: 1}
time_limit_min: 5
preprocess: [{backend: sequential}]
"""


def argv_of(name: str, out: Path, images: Path, results: Path) -> list[object]:
    study = results.parent / "study.yaml"
    study.write_text(STUDY)
    places = {"OUT": out, "IMAGES": images, "RESULTS": results, "STUDY": study}
    return [places.get(word, word) for word in VERBS[name]]


def only_line(capsys: Output) -> str:
    """The last line on stderr, where progress may precede it."""
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "room_kib"),
    [("synth", 0), ("synth", 300), ("preprocess", 0), ("preprocess", 100), ("a run", 0),
     ("collect", 0), ("collect", 200), ("jobs_folder", 30)],
)  # fmt: skip
def test_a_full_disk_leaves_nothing_half_and_the_call_works_again(
    name: str, room_kib: int, disk: Disk, images: Path, results: Path, capsys: Output
) -> None:
    out = disk.root / "new" / "out"
    argv = argv_of(name, out, images, results)
    disk.fill(room_kib)
    assert call(*map(str, argv)) in (cli.EXIT_FAILED, cli.EXIT_USAGE)
    line = only_line(capsys)
    assert str(out) in line
    assert "No space left on device" in line
    assert "weather_hpc-" not in line
    assert not disk.files()
    disk.make_room()
    assert call(*map(str, argv)) == cli.EXIT_OK
    assert disk.files()
    assert not list(disk.root.rglob("*weather_hpc-*")) + list(disk.root.rglob("*.partial"))


@pytest.mark.parametrize("name", VERBS)
def test_read_only_wrong_and_too_long_paths_are_one_line(
    name: str, disk: Disk, images: Path, results: Path, capsys: Output
) -> None:
    (disk.root / "file").touch()
    disk.make_read_only()
    for out, reason in (
        (disk.root / "out", "Read-only file system"),
        (disk.root / "file" / "out", "Not a directory"),
        (disk.root / ("n" * 300), "File name too long"),
    ):
        argv = argv_of(name, out, images, results)
        assert call(*map(str, argv)) in (cli.EXIT_FAILED, cli.EXIT_USAGE)
        line = only_line(capsys)
        assert reason in line
        assert str(out.parent) in line


def test_read_only_results_are_shown_and_collected_elsewhere(
    disk: Disk, results: Path, tmp_path: Path, capsys: Output
) -> None:
    study = disk.root / "study"
    leave(study, measured(preprocess_spec("sequential", 1), 2.0))
    before = disk.files()
    disk.make_read_only()
    assert call("collect", study, "--out", tmp_path / "collected") == cli.EXIT_OK
    assert (tmp_path / "collected" / "report.html").is_file()
    capsys.readouterr()
    assert call("collect", study) == cli.EXIT_FAILED
    line = only_line(capsys)
    assert line.endswith("Read-only file system; choose another folder for the output with --out")
    assert call("sweep", "clean", "--yes", "--results", study) == cli.EXIT_FAILED
    assert "Read-only file system" in only_line(capsys)
    assert disk.files() == before


def test_a_collection_replaces_the_earlier_one_whole_or_not_at_all(
    disk: Disk, capsys: Output
) -> None:
    study = disk.root / "study"
    leave(study, measured(preprocess_spec("sequential", 1), 2.0))
    assert call("collect", study) == cli.EXIT_OK
    leave(study, measured(preprocess_spec("multiprocessing", 2), 1.0))
    before = disk.files()
    for room_kib in (0, 300):
        disk.fill(room_kib)
        assert call("collect", study) == cli.EXIT_FAILED
        assert "No space left on device" in only_line(capsys)
        disk.make_room()
        assert disk.files() == before
    assert call("collect", study) == cli.EXIT_OK
    assert disk.files() != before


def test_a_sweep_on_a_full_disk_goes_on_when_there_is_room(
    disk: Disk,
    images: Path,
    results: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_plots = "weather_hpc.report.write.with_plots"  # for speed
    monkeypatch.setattr(without_plots, lambda report, _: report)
    argv = [*argv_of("sweep", disk.root / "out", images, results), "--data", images]
    assert call(*map(str, argv), "--only", "*-r0-*") == cli.EXIT_OK
    disk.fill()
    capsys.readouterr()
    assert call(*map(str, argv)) == cli.EXIT_FAILED
    assert "No space left on device" in only_line(capsys)
    disk.make_room()
    assert call(*map(str, argv)) == cli.EXIT_OK
    assert "1 of 2 runs to make" in capsys.readouterr().err


def test_another_users_folder_is_one_line(tmp_path: Path, capsys: Output) -> None:
    if os.geteuid():
        assert not os.environ.get("CI"), "becoming another user needs root"
        pytest.skip("becoming another user needs root")
    tmp_path.chmod(0o755)

    def main(argv: object) -> int:
        write_text(tmp_path / "out", "text")
        return 0

    os.seteuid(NOBODY)
    try:
        assert cli.guarded("data", main) == cli.EXIT_FAILED
    finally:
        os.seteuid(0)
    assert "Permission denied" in only_line(capsys)


def test_a_file_above_the_limit_names_the_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_text(tmp_path / "large", "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(tmp_path / "large")
    assert not list(tmp_path.iterdir())


def test_a_memory_map_on_a_full_disk_is_an_error_not_a_signal(disk: Disk) -> None:
    disk.fill(100)
    path = disk.root / "map.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (1 << 20,))  # all holes
    with pytest.raises(OSError, match="No space left") as caught:
        reserve(path, path)
    assert caught.value.filename == str(path)
    disk.make_room()
    reserve(path, path)
    assert path.stat().st_blocks * 512 > 1 << 20


def test_files_replace_others_together(tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    with pytest.raises(OSError, match="full") as caught, replacing(out) as new:
        write_text(new / "tables" / "one", "1")
        raise OSError(errno.ENOSPC, "full", str(new / "tables" / "two"))
    assert caught.value.filename == str(out / "tables" / "two")
    assert not (tmp_path / "a").exists()
    write_text(out / "kept", "kept")
    (out / "blocked").mkdir()
    with pytest.raises(IsADirectoryError), replacing(out) as new:
        write_text(new / "kept", "new")
        write_text(new / "blocked", "new")
    assert (out / "kept").read_text() == "kept"
    with replacing(out) as new:
        write_text(new / "tables" / "one", "1")
    assert sorted(p.name for p in out.rglob("*")) == ["blocked", "kept", "one", "tables"]


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), "verb: x: No such file", 1),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "x"), "verb: x: Disk quota exceeded", 1),
        (OSError(errno.ESTALE, "Stale file handle", b"x"), "verb: x: Stale file handle", 1),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), "verb: x: Is a directory", 2),
        (OSError(errno.EIO, "I/O error", 3), "verb: open file 3: I/O error", 1),
        (OSError(errno.ENOSPC, "full"), "verb: standard output or a file without a name: full", 1),
    ],
)
def test_system_errors_about_files_are_one_line(
    error: OSError, line: str, code: int, capsys: Output
) -> None:
    def main(argv: object) -> int:
        raise error

    assert cli.guarded("verb", main) == code
    assert capsys.readouterr().err == f"{line}\n"


def test_other_system_errors_keep_their_traceback() -> None:
    def main(argv: object) -> int:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    with pytest.raises(ConnectionRefusedError):
        cli.guarded("verb", main)


def test_standard_output_on_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def main(argv: object) -> int:
        print("text")
        return 0

    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.guarded("verb", main) == cli.EXIT_FAILED
    assert only_line(capsys) == "verb: standard output: No space left on device"

"""Files that users name to collect, with any content: tables of reference, claims, accounting."""

import os
from pathlib import Path

import pytest

from tests.broken import NO_FILES, ODD_TEXT, called, replace_file
from tests.collect.test_fuzz_records import without_plots
from tests.records_maker import leave, measured, train_spec
from weather_hpc.collect.__main__ import main as collect
from weather_hpc.collect.table_file import LONGEST_LINE

pytestmark = pytest.mark.usefixtures("undrawn_plots")

ACCOUNTING = (
    b"jobs:\n- " + b"[" * 100_000, b"meta: &a [1]\njobs:\n- *a\n", b"jobs:\n- job_id: 2020-99-99\n",
    b"jobs: !!bool x\n", b'{"jobs": ' + b"[" * 100_000, b'{"jobs": [1, null, {"job_id": []}]}',
    b"JobID|JobIDRaw|State\n" + b"1|\x1b[31m|\xff\n" * 5,
)  # fmt: skip
TABLES = (b"|" * 200_000 + b"\n" + b"|-" * 100_000, b"\\begin{tabular}{" + b"{" * 50_000, b"a,a\n")


def repr_of(content: bytes) -> str:
    return repr(content[:9])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("collect") / "results"
    leave(root, measured(train_spec("single", 1), 10.5))
    return root


def use(results: Path, file: Path) -> None:
    """Give ``file`` to collect in every way."""
    out = ["--out", str(results)]
    with without_plots():
        for option in ("--reference", "--claims", "--format"):
            code, printed = called("collect", collect, [str(results), option, str(file), *out])
            if code == 2:
                assert str(file) in printed
        called("collect", collect, [str(results), str(file), *out])


@pytest.mark.parametrize(
    "content", [*ODD_TEXT[::2], *ACCOUNTING, *TABLES], ids=lambda c: repr(c[:9])
)
def test_odd_content(results: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    use(results, file)


@pytest.mark.parametrize("kind", [kind for kind in NO_FILES if kind != "huge"])
def test_what_is_no_file(results: Path, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "mine.yaml"
    file.touch()
    replace_file(file, kind)
    use(results, file)


def test_a_table_of_one_long_line(results: Path, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("time_s," * LONGEST_LINE + os.linesep)
    argv = [str(results), "--reference", str(file), "--out", str(results)]
    code, printed = called("collect", collect, argv)
    assert (code, f"more than {LONGEST_LINE} characters" in printed) == (2, True)

"""Studies, sites and formats that no user writes by mistake alone: a line, and no waiting."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.broken import NO_FILES, ODD_TEXT, TRIES, called, replace_file
from weather_hpc.errors import UserError
from weather_hpc.logs.log_format import formats
from weather_hpc.study.config import load_study
from weather_hpc.study.plan import make_plan
from weather_hpc.study.refusals import MOST_RUNS
from weather_hpc.study.site import load_site
from weather_hpc.study.yaml_text import DEEPEST, LARGEST_YAML, MOST_VALUES
from weather_hpc.sweep.__main__ import main as sweep

PLANNED = "name: x\npreprocess: [{backend: dask, workers: 2}]\n"

LAUGHS = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
GRIDS = "  - {backend: dask, workers: 2}\n" * 2000

WRONG = {
    "? [a, b]\n: 1\n": "1: not valid YAML: a key must be a word, not a list",
    "name: x\neda:\n  - ? {a: b}\n    : 1\n": "3: not valid YAML: a key must be a word, not a map",
    "name: x\n'name': y\n": "2: not valid YAML: key 'name' is written twice",
    "name: x\non: 1\n": "2: not valid YAML: a key must be a word; 'on' is read as bool, unless",
    "name: x\n12: 1\n": "2: not valid YAML: a key must be a word; '12' is read as int, unless",
    "name: &n [*n]\n": "1: not valid YAML: alias *n is part of itself",
    "name: *n\n": "1: not valid YAML: found undefined alias",
    LAUGHS: f"5: not valid YAML: more than {MOST_VALUES} values, aliases included",
    "a: &a {x: 1}\nb:\n  <<: [" + "*a, " * 11_000 + "]\n": f"3: not valid YAML: more than "
    f"{MOST_VALUES} values",
    "name: " + "[" * 60_000: f"1: not valid YAML: more than {DEEPEST} levels",
    "- " * 60_000: f"1: not valid YAML: more than {DEEPEST} levels",
    "name: !!python/object/apply:os.system [x]\n": "1: not valid YAML: could not determine a",
    "name: !!binary x\n": "1: not valid YAML: ",
    "name: 2020-99-99\n": "1: not valid YAML: '2020-99-99' is no valid timestamp",
    "name: !!bool x\n": "1: not valid YAML: 'x' is no valid bool",
    "name: x\nrepeats: 010\n": "2: not valid YAML: 010 is no decimal number",
    "name: x\nrepeats: 1:30\n": "2: not valid YAML: 1:30 is no decimal number",
    "name: x\nrepeats: " + "9" * 5000 + "\n": "2: not valid YAML: a number of 5000 characters",
    "name: x\nrepeats: 0x" + "f" * 5000 + "\n": "2: not valid YAML: a number of 5002 characters",
    "name: x\nrepeats: 1e999\n": "2: repeats: input should be a valid integer, not '1e999'",
    "name: x\nrepeats: .nan\n": "2: repeats: input should be a valid integer, not nan",
    "name: x\nrepeats: 99999999999999999999999999\n": "2: repeats: input should be less than or",
    "name: a\0b\n": "1: not valid YAML: character '\\x00' is not allowed",
    "about: x\nname: \x1b[31m\n": "2: not valid YAML: character '\\x1b' is not allowed",
    "name: x\npreprocess:\n\t- backend: dask\n": "3: not valid YAML: found character '\\t'",
    "name: x\n---\nname: y\n": "2: not valid YAML: but found another document",
    "name: x\n" + "k" * 500 + "\n": "not valid YAML",
    PLANNED + "repeats: 1000000\n": f"3: repeats: 1000000 repeats of 1 configuration are 1000000 "
    f"runs; expected at most {MOST_RUNS} in a study",
    f"name: x\npreprocess:\n{GRIDS}": "1: repeats: 3 repeats of 2000 configurations are 6000 runs",
    f"name: x\npreprocess: [{{backend: dask, workers: [{', '.join(map(str, range(2, 9999)))}]}}]\n":
    "1: repeats: 3 repeats of 9997 configurations",
    PLANNED + "about: " + "x" * LARGEST_YAML: f"expected at most {LARGEST_YAML}",
    PLANNED + "? " + "x" * 9000 + "\n: 1\n": f"3: unknown key '{'x' * 60}...'; known: name,",
    f"name: x\ntrain: [{{strategy: single, model: resnet18, weights: {'x' * 9000}}}]\n":
    "no such file",
    'name: x\neda: [{backend: dask, augmentation: "\\e[31m"}]\n': "augmentation \\x1b[31m: no",
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG.items(), ids=range(len(WRONG)))
def test_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    argv = ["--study", str(path), "--dry-run", "--executor", "local", "--results", str(tmp_path)]
    code, printed = called("sweep", sweep, argv)
    assert (code, printed.count("\n")) == (2, 1)
    assert f"{path}" in printed
    assert message in printed


def test_ordinary_yaml_is_read(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "\ufeffname: x\nrepeats: 2\nmax_unreadable: 1.5e-2\n"
        "preprocess:\n  - &c {backend: dask, workers: [1, 2]}\n  - {<<: *c, workers: 4}\n"
    )
    study = load_study(str(path))
    assert study.max_unreadable == 0.015
    assert len(make_plan(study, "/x").runs) == 6


def test_as_many_runs_as_allowed_are_planned(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(PLANNED + f"repeats: {MOST_RUNS}\n")
    assert len(make_plan(load_study(str(path)), "/x").runs) == MOST_RUNS


def refused(path: Path) -> None:
    """Reading ``path`` as any kind of YAML file is right or a single line, nothing else."""
    for load in (load_study, load_site, lambda name: formats([name])):
        try:
            load(str(path))
        except UserError as error:
            lines = str(error).splitlines()
        else:
            continue
        assert len(lines) == 1
        assert path.name in lines[0]


@pytest.mark.parametrize("content", ODD_TEXT, ids=range(len(ODD_TEXT)))
def test_odd_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine.yaml"
    path.touch()
    replace_file(path, kind)
    refused(path)


SCRAPS = st.sampled_from(
    [*"[]{}:?-,&*!|>%@`'\"#\n\t \\0123", "name", "train", "- ", ": ", "\n  ", "&a ", "*a", "<<: ",
     "!!int ", "!!set ", "? ", "1e9", "0o7", "~", "yes", "2020-01-01", "\ud7ff", "\x85", "\0"]
)  # fmt: skip


@given(st.lists(SCRAPS, max_size=40).map("".join))
@TRIES
def test_scraps_of_yaml(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("scraps") / "mine.yaml"
    path.write_text(text)
    refused(path)

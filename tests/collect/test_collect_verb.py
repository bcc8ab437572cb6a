"""The verb: exit codes, the JSON line, and which modules it loads."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.records_maker import leave, measured, preprocess_spec, train_spec
from weather_hpc import cli
from weather_hpc.collect.__main__ import main


def run(*argv: str | Path) -> int:
    return cli.guarded("collect", main, list(map(str, argv)))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    leave(tmp_path / "study", measured(preprocess_spec("sequential", 1), 2.0))
    return tmp_path / "study"


def test_a_study_is_collected_into_itself(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(study, "--json") == cli.EXIT_OK
    out = capsys.readouterr().out.splitlines()
    summary = json.loads(out[-1])
    assert (summary["runs"], summary["in_tables"], summary["rejected"]) == (1, 1, 0)
    assert summary["findings"] == {"error": 0, "warning": 0, "info": 0}
    for name in ("rows", "rejects", "audit", "report"):
        assert Path(summary[name]).parent == study
        assert Path(summary[name]).is_file()
    assert all(Path(path).is_file() for path in [*summary["tables"], *summary["plots"]])


def test_several_folders_are_collected_elsewhere(study: Path, tmp_path: Path) -> None:
    leave(tmp_path / "other", measured(preprocess_spec("dask", 2, study="other"), 1.5))
    assert run(study, tmp_path / "other", "--out", tmp_path / "both") == cli.EXIT_OK
    assert len((tmp_path / "both" / "rows.csv").read_text().splitlines()) == 3
    assert not (study / "rows.csv").exists()


def test_wrong_input_is_one_line(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for argv, message in (
        ([tmp_path / "missing"], "no such file or folder"),
        ([tmp_path / "empty", "--out", tmp_path / "o"], "holds neither runs nor logs"),
        ([tmp_path], "--out: is needed"),
        ([study, study], "--out: is needed"),
        ([study, "--out", tmp_path / "file"], "is a file"),
        ([study, "--reference", tmp_path / "none"], "none"),
        ([study, "--tolerance", "much"], "--tolerance much: expected a number"),
        ([study, "--allocation", "cpus=8,gpu=1"], "unknown name 'gpu'; did you mean 'gpus'?"),
        ([study, "--allocation", ""], "--allocation : unknown name ''"),
        ([study, "--pattern", "{gpu}.log"], "gpus"),
        ([study, "--format", "nonesuch"], "nonesuch"),
        ([study, "--out", tmp_path / "file" / "below"], "Not a directory"),
    ):
        assert run(*argv) == cli.EXIT_USAGE
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1


def test_nothing_heavy_is_loaded(study: Path) -> None:
    script = (
        "import sys; from weather_hpc.collect.__main__ import main\n"
        "heavy = {'numpy', 'matplotlib', 'jinja2', 'pandas', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "main(sys.argv[1:])\n"
        "heavy = {'torch', 'dask', 'submitit', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script, study], check=True)


def test_an_allocation_gets_the_best_mix_of_both_stages(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for workers, time_s in ((2, 1.2), (4, 0.8)):
        resources = {"cpus_per_node": workers}
        leave(study, measured(preprocess_spec("dask", workers, resources=resources), time_s))
    resources = {"cpus_per_node": 3}
    leave(study, measured(train_spec("single", 1, resources=resources), 5.0))
    assert run(study, "--allocation", "cpus=3", "--json") == cli.EXIT_OK
    told = json.loads(capsys.readouterr().out)["key_findings"]
    begin = "Preprocessing and training on 3 CPUs on 1 node: dask, 2 workers, then single on cpu"
    assert [text.startswith(begin) for text in told].count(True) == 1
    asked = cells(study / "tables" / "advice.csv", "question", "work", "time_s")
    assert [row[1:] for row in asked if row[0] == "end_to_end"] == [("3 CPUs on 1 node", "6.2")]
    rows = cells(study / "rows.csv", "stage", "nodes", "cpus_per_node", "gpus_per_node")
    assert set(rows) == {
        ("preprocess", "1", "1", "0"), ("preprocess", "1", "2", "0"),
        ("preprocess", "1", "4", "0"), ("train", "1", "3", "0"),
    }  # fmt: skip
    header = (study / "rows.csv").read_text().splitlines()[0]
    assert ",features_s,cpus_per_node,gpus_per_node" in header
    # without an allocation it is the largest that was measured
    assert run(study) == cli.EXIT_OK
    asked = cells(study / "tables" / "advice.csv", "question", "work", "time_s")
    largest = ("end_to_end", "4 CPUs on 1 node", "5.8")
    assert next(row for row in asked if row[0] == "end_to_end") == largest


@pytest.fixture
def paper(shared_images: Path) -> Path:
    """The reproduced study's tables and logs."""
    return shared_images.parent / "paper"


PAPERS_NAMES = ("--pattern", "ddp_{gpus}gpu_bs{batch_size}.log")


def cells(path: Path, *columns: str) -> list[tuple[str, ...]]:
    with path.open(newline="") as file:
        return [tuple(row[column] for column in columns) for row in csv.DictReader(file)]


def test_the_papers_logs_give_the_papers_totals(
    paper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    reference = paper / "ddp_rtx3070.csv"
    options = ("--out", out, *PAPERS_NAMES, "--reference", reference, "--json")
    assert run(paper / "logs", *options) == cli.EXIT_OK
    summary = json.loads(capsys.readouterr().out)
    assert (summary["runs"], summary["in_tables"], summary["rejected"]) == (8, 8, 0)
    assert (summary["reference"]["compared"], summary["reference"]["regressions"]) == (8, 0)
    keys = ("world_size", "batch_size_per_device")
    published = {row[:2]: float(row[2]) for row in cells(reference, "gpus", "batch_size", "time_s")}
    for *key, time_s in cells(out / "tables" / "training.csv", *keys, "time_s"):
        # the study cut decimals off in some rows and rounded in others
        assert abs(float(time_s) - published[tuple(key)]) < 1
    assert set(cells(out / "rows.csv", "cpus_per_node", "gpus_per_node")) == {("", "")}
    codes = {code for (code,) in cells(out / "audit.csv", "code")}
    assert codes == {"incomplete_epochs", "batch_semantics", "missing_total", "reference_mismatch"}
    assert "8 configurations" in (out / "audit.csv").read_text()


def test_a_slower_log_is_a_regression(paper: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(paper / "logs", logs)
    log = logs / "ddp_2gpu_bs128.log"
    log.write_text(log.read_text().replace("63.36", "83.36"))
    out = tmp_path / "out"
    reference = ("--reference", paper / "ddp_rtx3070.csv")
    assert run(logs, "--out", out, *PAPERS_NAMES, *reference) == cli.EXIT_FAILED
    verdicts = cells(out / "tables" / "reference.csv", "configuration", "verdict")
    assert [c for c, verdict in verdicts if verdict == "regression"] == [
        "ddp on cuda, 2 ranks, batch 128"
    ]
    relaxed = (*PAPERS_NAMES, *reference, "--tolerance", "0.5")
    assert run(logs, "--out", out, *relaxed) == cli.EXIT_OK


def test_a_copy_under_another_name_is_found(paper: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(paper / "logs", logs)
    shutil.copy(logs / "ddp_2gpu_bs64.log", logs / "ddp_4gpu_bs64.log")
    out = tmp_path / "out"
    assert run(logs, "--out", out, *PAPERS_NAMES) == cli.EXIT_OK
    assert [run_id for (run_id,) in cells(out / "rejects.csv", "run_id")] == ["ddp_4gpu_bs64"]
    assert ("ddp_4gpu_bs64", "duplicate_content") in cells(out / "audit.csv", "source", "code")


def test_rows_with_audit_errors_are_not_recommended(
    paper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(paper / "logs", logs)
    (logs / "ddp_2gpu_bs128.log").rename(logs / "ddp_4gpu_bs128.log")
    out = tmp_path / "out"
    assert run(logs, "--out", out, *PAPERS_NAMES, "--json") == cli.EXIT_OK
    found = cells(out / "audit.csv", "source", "severity", "code")
    assert ("ddp_4gpu_bs128", "error", "rank_count_mismatch") in found
    (fastest,) = [
        answer for question, answer in cells(out / "tables" / "advice.csv", "question", "answer")
        if question == "fastest"
    ]  # fmt: skip
    assert fastest == "ddp on cuda, 2 ranks, batch 256"
    table = cells(out / "tables" / "training.csv", "world_size", "audit_errors")
    (codes,) = [codes for ranks, codes in table if ranks == "4"]
    assert codes == "rank_count_mismatch"
    summary = json.loads(capsys.readouterr().out)
    assert not any("4 ranks" in sentence for sentence in summary["key_findings"])


def test_logs_accounting_and_records_together(study: Path, paper: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    shutil.copy(paper / "logs" / "ddp_1gpu_bs32.log", logs / "ddp_1gpu_bs32_77.log")
    export = tmp_path / "jobs.txt"
    export.write_text(
        "JobID|JobName|State|Eligible|Start|End|Elapsed|NNodes|NodeList\n"
        "77|ddp|COMPLETED|2023-05-01T10:00:00|2023-05-01T10:00:30|2023-05-01T10:02:30|00:02:00|1|n1\n"
    )
    out = tmp_path / "out"
    pattern = ("--pattern", "ddp_{gpus}gpu_bs{batch_size}_{job_id}.log")
    assert run(study, logs, export, "--out", out, *pattern) == cli.EXIT_OK
    rows = cells(out / "rows.csv", "run_id", "queue_s", "node_hours", "slurm_state")
    assert len(rows) > 1
    assert ("ddp_1gpu_bs32_77", "30.0", str(2 / 60), "COMPLETED") in rows


def test_a_deadline_and_a_budget_give_recommendations(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(study, "--out", out, "--deadline", "1000", "--budget", "5") == cli.EXIT_OK
    questions = {q for (q,) in cells(out / "tables" / "advice.csv", "question")}
    assert {"deadline of 1,000 s", "budget of 5 node-hours"} <= questions
    with pytest.raises(SystemExit) as stopped:
        run(study, "--out", out, "--deadline", "-1")
    assert stopped.value.code == cli.EXIT_USAGE
    assert "is not a number of at least 0" in capsys.readouterr().err


def test_the_studys_conclusions_are_tested_on_its_logs(paper: Path, tmp_path: Path) -> None:
    """Logs of one and two GPUs, one each: what they leave open and what they lack is said."""
    out = tmp_path / "out"
    assert run(paper / "logs", "--out", out, *PAPERS_NAMES) == cli.EXIT_OK
    columns = ("claim", "published", "here", "needed")
    found = {claim: rest for claim, *rest in cells(out / "tables" / "claims.csv", *columns)}
    assert found["ddp-small-batches-lose"] == [
        "does not hold", "not shown", "at least 5 repeats of each configuration, now 1",
    ]  # fmt: skip
    assert found["ddp-four-gpus-optimal"] == [
        "does not hold", "not measured", "ddp on cuda, 3 ranks; ddp on cuda, 4 ranks",
    ]  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    sections = {part["name"]: part for s in report["sections"] for part in (s, *s["parts"])}
    assert any("batch 64: 1 rank 94 s" in text for text in sections["claims"]["sentences"])
    assert any("contradict 4 of its 16" in text for text in sections["more"]["sentences"])
    assert [table["name"] for table in sections["claims"]["tables"]] == [
        "claims_measured", "claims_not_measured",
    ]  # fmt: skip
    assert len((out / "tables" / "grid_ddp_cuda.csv").read_text().splitlines()) == 5
    assert [table["name"] for table in sections["grids"]["tables"]] == [
        "grid_ddp_cuda", "published_grid_ddp_cuda",
    ]  # fmt: skip
    for name in ("report.html", "report.md", "report.tex"):
        assert "The study's conclusions" in (out / name).read_text().replace("&#39;", "'")


def test_claims_of_ones_own_are_tested(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "claims.yaml"
    file.write_text(
        "source: us\nclaims:\n- id: quick\n  sentence: It takes less than 3 s.\n  about: us\n"
        "  rules:\n  - {kind: value, stage: preprocess, of: {}, column: time_s, between: [0, 3]}\n"
    )
    assert run(study, "--claims", file) == cli.EXIT_OK
    assert cells(study / "tables" / "claims.csv", "claim", "here", "here_values") == [
        ("quick", "not shown", "Not shown, medians as claimed: time_s 2")
    ]
    file.write_text(file.read_text().replace("kind: value", "kind: valeu"))
    capsys.readouterr()
    assert run(study, "--claims", file) == cli.EXIT_USAGE
    assert f"{file}:7: claims[0].rules[0].kind: 'valeu' is no choice" in capsys.readouterr().err
    assert run(study, "--claims", tmp_path / "none") == cli.EXIT_USAGE

"""Audit and rejects: equal entries become one line, and all are counted."""

from tests.analysis.test_scaling import array_run
from tests.report.many_rows import many_findings, many_rows
from weather_hpc.analysis.comparison import compare
from weather_hpc.report.findings import MOST_ALIKE, audit_table, key_findings, rejects_table
from weather_hpc.runs.row import Code, Finding, Severity


def finding(source: str, message: str, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(source, severity, Code.FOREIGN_LOAD, message)


def test_few_findings_are_all_listed_and_errors_come_first() -> None:
    table = audit_table(
        [
            finding("a", "3 % of a core"),
            finding("b", "4 % of a core"),
            finding("c", "it is wrong", Severity.ERROR),
        ]
    )
    assert [(row["severity"], row["source"], row["evidence"]) for row in table.rows] == [
        ("error", "c", "it is wrong"),
        ("warning", "a", "3 % of a core"),
        ("warning", "b", "4 % of a core"),
    ]


def test_equal_messages_are_one_line_with_the_number_of_runs() -> None:
    (row,) = audit_table([finding(f"run{n}", "the same") for n in range(7)]).rows
    assert row["runs"] == 7
    assert row["source"] == "run0, run1, run2 and 4 more"
    assert row["evidence"] == "the same"


def test_very_many_messages_that_differ_in_numbers_only_are_one_line() -> None:
    findings = [finding(f"run{n}", f"{n} % of a core") for n in range(MOST_ALIKE + 1)]
    (row,) = audit_table(findings).rows
    assert row["runs"] == MOST_ALIKE + 1
    assert row["evidence"] == "for example: 0 % of a core"
    other = [*findings, finding("x", "quite another thing")]
    assert sum(row["runs"] for row in audit_table(other).rows) == MOST_ALIKE + 2


def test_every_reject_is_counted() -> None:
    rows = many_rows(500, 20)
    rejected = sum(row.is_rejected for row in rows)
    assert rejected == 400
    assert sum(row["runs"] for row in rejects_table(rows).rows) == rejected
    findings = many_findings(rows)
    assert sum(row["runs"] for row in audit_table(findings).rows) == len(findings)


def test_the_best_speedup_of_another_engine_has_no_efficiency() -> None:
    rows = [
        array_run("mean-std", "numpy", 1, 8.0),
        array_run("mean-std", "opencv", 2, 0.5),
        array_run("histogram", "numpy", 1, 8.0),
        array_run("histogram", "numpy", 2, 5.0),
    ]
    numpy, opencv = key_findings(compare(rows), [])
    assert "speedup is 1.60, with histogram, numpy, 2 workers" in numpy
    assert numpy.endswith("over numpy, 1 worker: an efficiency of 80 %.")
    assert opencv.startswith("Array operations' best speedup is 16.00, with mean-std, opencv, 2")
    assert opencv.endswith("over numpy, 1 worker.")

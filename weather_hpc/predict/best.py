"""The checkpoint of a results folder's most accurate configuration."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from weather_hpc.analysis.statistics import median
from weather_hpc.errors import FailedError, UserError
from weather_hpc.runs.audit import audit_run
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.reader import earlier_runs
from weather_hpc.runs.row import Severity
from weather_hpc.runs.run import Run
from weather_hpc.study.spec import Stage


@dataclass(frozen=True)
class Best:
    """The most accurate configuration of a study, and the run whose network predicts."""

    run: Run
    configuration: str
    test_accuracy: float
    """The median over the configuration's repeats, 0 to 1."""
    repeats: int

    @property
    def checkpoint(self) -> Path:
        """The network of :attr:`run`."""
        return RunPaths(self.run.folder).checkpoint

    def __str__(self) -> str:
        return (
            f"{self.run.run_id}: its configuration has the highest test accuracy in the study "
            f"(median {self.test_accuracy:.3f}, {self.repeats} of its runs)"
        )


def best_run(results: Path) -> Best:
    """The run to predict with, in the results folder of a study.

    Its configuration has the highest median test accuracy over its successful runs that have no
    error in the audit; of equal ones the fastest. Of its runs it is the most accurate that still
    has its checkpoint. Raises FailedError where no training succeeded or no checkpoint is left,
    UserError where the folder has no runs.
    """
    paths = StudyPaths(results)
    if not paths.runs.is_dir():
        raise UserError(f"--best-of {results}: no study has been run here")
    groups: dict[str, list[Run]] = defaultdict(list)
    trained = [run for run in earlier_runs(paths) if _trained(run)]
    for run in trained:
        if run.spec is not None and run.row.test_accuracy is not None:
            groups[run.spec.configuration].append(run)
    if not groups:
        why = (
            "measured a test accuracy: a class needs three images or more"
            if trained
            else ("succeeded, so no network can predict")
        )
        raise FailedError(f"{results}: no training run {why}")
    configuration = min(groups, key=lambda name: (-_accuracy(groups[name]), _time(groups[name])))
    runs = groups[configuration]
    left = [run for run in runs if RunPaths(run.folder).checkpoint.is_file()]
    if not left:
        raise FailedError(
            f"{results}: no checkpoint of {configuration}, the most accurate configuration, is "
            "left; `sweep clean` removes them: train it again, or predict with --checkpoint"
        )
    best = max(left, key=lambda run: (_accuracy([run]), -_time([run])))
    return Best(best, configuration, _accuracy(runs), len(runs))


def _trained(run: Run) -> bool:
    """Whether ``run`` trained a network, without an error in the audit."""
    trained = run.row.stage == Stage.TRAIN and run.row.table is not None
    return trained and all(finding.severity is not Severity.ERROR for finding in audit_run(run))


def _accuracy(runs: list[Run]) -> float:
    return median([run.row.test_accuracy or 0.0 for run in runs]) or 0.0


def _time(runs: list[Run]) -> float:
    return median([run.row.time_s or 0.0 for run in runs]) or 0.0

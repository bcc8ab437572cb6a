"""Every file and folder name that a study uses, spelled in one place."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """What one run leaves in its folder, ``results/<study>/runs/<run_id>/``."""

    root: Path

    @property
    def spec(self) -> Path:
        """What was asked: a RunSpec as JSON, written before the run starts."""
        return self.root / "spec.json"

    @property
    def site(self) -> Path:
        """The site, for a run that submits jobs of its own."""
        return self.root / "site.json"

    @property
    def record(self) -> Path:
        """What came back: a RunRecord as JSON."""
        return self.root / "record.json"

    @property
    def events(self) -> Path:
        """One JSON line per event: epochs, checkpoints, warnings."""
        return self.root / "events.jsonl"

    @property
    def evaluation(self) -> Path:
        """What the trained network does on the held-out images, class by class, as JSON."""
        return self.root / "evaluation.json"

    @property
    def telemetry(self) -> Path:
        """What host and devices did while the run was measured: CSV, a line per sample."""
        return self.root / "telemetry.csv"

    @property
    def gpus(self) -> Path:
        """What every GPU of its nodes did at the start and in the middle of measured time: CSV."""
        return self.root / "nvidia-smi.csv"

    @property
    def stdout(self) -> Path:
        """What the run printed."""
        return self.root / "stdout.log"

    @property
    def stderr(self) -> Path:
        """What the run printed as errors."""
        return self.root / "stderr.log"

    @property
    def exit(self) -> Path:
        """The exit code of the run's command and when it ended, written by its script."""
        return self.root / "exit.json"

    @property
    def earlier_tries(self) -> Path:
        """The node-hours of tries whose records are gone, because the run was made again."""
        return self.root / "earlier_tries.json"

    @property
    def stop(self) -> Path:
        """Asks a running training to checkpoint at its next step and end with exit code 75."""
        return self.root / "stop"

    @property
    def stopped(self) -> Path:
        """Tells that training has done so; torchrun lets no exit code of its ranks through."""
        return self.root / "stopped"

    @property
    def slurm(self) -> Path:
        """What Slurm says of the run's job: state, times, nodes, memory."""
        return self.root / "slurm.json"

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint of a training run."""
        return self.root / "checkpoint.pt"

    @property
    def store(self) -> Path:
        """The store of a preprocessing run; removed once it is measured."""
        return self.root / "store"


@dataclass(frozen=True)
class CheckPaths:
    """What one call of the check verb leaves in its folder."""

    root: Path

    @property
    def results(self) -> Path:
        """What was checked and what came of it: a JSON object a line, a check a line."""
        return self.root / "check.jsonl"

    @property
    def kernels(self) -> Path:
        """Tables of the kernels that a step's time on a GPU goes to."""
        return self.root / "kernels.txt"


@dataclass(frozen=True)
class StudyPaths:
    """What one study leaves, ``results/<study>/``."""

    root: Path

    @property
    def plan(self) -> Path:
        """Every planned run, as JSON."""
        return self.root / "plan.json"

    @property
    def lock(self) -> Path:
        """Held while a sweep changes this folder."""
        return self.root / ".lock"

    @property
    def data(self) -> Path:
        """The synthetic images, where no folder was given."""
        return self.root / "data"

    def store(self, name: str) -> Path:
        """A packed store that training runs read."""
        return self.stores / name

    @property
    def stores(self) -> Path:
        """The folder of packed stores."""
        return self.root / "stores"

    @property
    def jobs(self) -> Path:
        """The job scripts."""
        return self.root / "jobs"

    @property
    def runs(self) -> Path:
        """One folder per run."""
        return self.root / "runs"

    def run(self, run_id: str) -> RunPaths:
        """The folder of one run."""
        return RunPaths(self.runs / run_id)

    def script(self, run_id: str) -> Path:
        """The job script of one run."""
        return self.jobs / f"{run_id}.sh"

    def array_script(self, token: str) -> Path:
        """The sbatch script of one submission."""
        return self.jobs / f"{token}.sbatch"

    def submitit(self, token: str) -> Path:
        """What submitit keeps of one submission: its script, what it pickled, its logs."""
        return self.jobs / token

    @property
    def job_logs(self) -> Path:
        """What jobs print beside their runs: Slurm's own messages, as a rule."""
        return self.jobs / "logs"

    @property
    def checks(self) -> Path:
        """What was found of the machines before or between the runs: a folder per call of check."""
        return self.root / "check"

    def check(self, name: str) -> CheckPaths:
        """The folder of one call of the check verb."""
        return CheckPaths(self.checks / name)

    @property
    def submissions(self) -> Path:
        """The ledger: one JSON file per submission to a scheduler."""
        return self.root / "submissions"

    @property
    def rows(self) -> Path:
        """One row per run."""
        return self.root / "rows.csv"

    @property
    def rejects(self) -> Path:
        """Runs that are in no table, with the reason."""
        return self.root / "rejects.csv"

    @property
    def audit(self) -> Path:
        """What looks wrong, with the evidence."""
        return self.root / "audit.csv"

    @property
    def tables(self) -> Path:
        """The scaling tables."""
        return self.root / "tables"

    @property
    def plots(self) -> Path:
        """The figures."""
        return self.root / "plots"

    @property
    def report(self) -> Path:
        """The report page."""
        return self.root / "report.html"

    @property
    def report_markdown(self) -> Path:
        """The report as Markdown."""
        return self.root / "report.md"

    @property
    def report_latex(self) -> Path:
        """The report as a LaTeX document."""
        return self.root / "report.tex"

    @property
    def report_json(self) -> Path:
        """The report for programs."""
        return self.root / "report.json"

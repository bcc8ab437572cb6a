"""The names of all files and folders of a study."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """The files of one run, in ``results/<study>/runs/<run_id>/``."""

    root: Path

    @property
    def spec(self) -> Path:
        """The planned settings: a RunSpec as JSON, written before the run starts."""
        return self.root / "spec.json"

    @property
    def site(self) -> Path:
        """The site, for a run that submits jobs of its own."""
        return self.root / "site.json"

    @property
    def record(self) -> Path:
        """The result: a RunRecord as JSON."""
        return self.root / "record.json"

    @property
    def events(self) -> Path:
        """One JSON line per event: epochs, checkpoints, warnings."""
        return self.root / "events.jsonl"

    @property
    def evaluation(self) -> Path:
        """The trained network's predictions for the held-out images, by class, as JSON."""
        return self.root / "evaluation.json"

    @property
    def examples(self) -> Path:
        """Held-out images that the trained network classified right and wrong, side by side: JPEG.

        ``examples`` of evaluation.json says what they are.
        """
        return self.root / "examples.jpg"

    @property
    def images(self) -> Path:
        """Which images a run of preprocessing packed, by class, and what it left out: as JSON."""
        return self.root / "images.json"

    @property
    def ranks(self) -> Path:
        """Training: loss, accuracy and seconds of each rank and epoch: CSV."""
        return self.root / "ranks.csv"

    @property
    def telemetry(self) -> Path:
        """Load of host and devices while the run was measured: CSV, a line per sample."""
        return self.root / "telemetry.csv"

    @property
    def gpus(self) -> Path:
        """State of every GPU of its nodes at the start and in the middle of measured time: CSV."""
        return self.root / "nvidia-smi.csv"

    @property
    def predictions(self) -> Path:
        """The predicted class of each new image, of a run of stage ``predict``: CSV."""
        return self.root / "predictions.csv"

    @property
    def prediction_summary(self) -> Path:
        """How many images, which network, how accurate: a PredictionSummary as JSON."""
        return self.root / "summary.json"

    def sheet(self, number: int) -> Path:
        """A sheet of new images with their predicted classes, from 1: PNG."""
        return self.root / f"sheet-{number}.png"

    @property
    def stdout(self) -> Path:
        """Standard output of the run."""
        return self.root / "stdout.log"

    @property
    def stderr(self) -> Path:
        """Standard error of the run."""
        return self.root / "stderr.log"

    @property
    def exit(self) -> Path:
        """The exit code of the run's command and when it ended, written by its script."""
        return self.root / "exit.json"

    @property
    def lock(self) -> Path:
        """Locked by the process that writes the record, for as long as it works here."""
        return self.root / ".lock"

    @property
    def script_lock(self) -> Path:
        """Locked by the run's script and the launchers that it starts, until the last has ended."""
        return self.root / ".script.lock"

    @property
    def submission(self) -> Path:
        """The token of the submission whose job makes the run: any other job of it ends at once."""
        return self.root / ".submission"

    @property
    def earlier_tries(self) -> Path:
        """Node-hours of earlier tries, whose records were replaced when the run was repeated."""
        return self.root / "earlier_tries.json"

    @property
    def stop(self) -> Path:
        """If present, training writes a checkpoint at its next step and exits with code 75."""
        return self.root / "stop"

    @property
    def stopped(self) -> Path:
        """Written when training has stopped: torchrun does not pass on the ranks' exit code."""
        return self.root / "stopped"

    @property
    def slurm(self) -> Path:
        """The run's Slurm job: state, times, nodes, memory."""
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
    """The files that one call of the check verb writes."""

    root: Path

    @property
    def results(self) -> Path:
        """The results: one JSON object per line and check."""
        return self.root / "check.jsonl"

    @property
    def kernels(self) -> Path:
        """GPU time of a training step by kernel, as tables."""
        return self.root / "kernels.txt"


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study, in ``results/<study>/``."""

    root: Path

    @property
    def plan(self) -> Path:
        """Every planned run, as JSON."""
        return self.root / "plan.json"

    @property
    def forecast(self) -> Path:
        """What each run was expected to cost when it was submitted, as JSON."""
        return self.root / "forecast.json"

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
        """submitit's files for one submission: script, pickles, logs."""
        return self.jobs / token

    @property
    def job_logs(self) -> Path:
        """Output of jobs outside their runs, mostly messages from Slurm."""
        return self.jobs / "logs"

    @property
    def checks(self) -> Path:
        """Results of checks of the machines: one folder per call of check."""
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
        """Findings of the audit, with the evidence."""
        return self.root / "audit.csv"

    @property
    def tables(self) -> Path:
        """The scaling tables."""
        return self.root / "tables"

    @property
    def plots(self) -> Path:
        """The plots."""
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
        """The report as JSON."""
        return self.root / "report.json"

"""A run's folder before and after the run itself: made ready, or closed by the launcher."""

from weather_hpc.files import write_json
from weather_hpc.runs.node_hours import spent
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.study.spec import RunSpec


def make_ready(run: RunPaths, spec: RunSpec) -> None:
    """Write the spec; remove what an earlier try left, but for what it cost.

    Its checkpoint stays, with the events so far: a training run resumes from that.
    """
    if node_hours := spent(read_run(run.root)):
        write_json(run.earlier_tries, {"node_hours": node_hours})
    for path in (run.record, run.exit, run.stdout, run.stderr, run.stop, run.stopped, run.slurm):
        path.unlink(missing_ok=True)
    if not run.checkpoint.exists():
        run.events.unlink(missing_ok=True)
    write_json(run.spec, spec.as_dict())


def record_end(paths: StudyPaths, spec: RunSpec, status: Status, reason: str) -> None:
    """Write the record of a run that did not come to do so itself."""
    RunRecord.of(spec, status=status, reason=reason).write(paths.run(spec.run_id).record)

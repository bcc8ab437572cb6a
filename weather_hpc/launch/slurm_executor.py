"""The Slurm executor: job arrays submitted with sbatch, each exactly once."""

import re
import sys
import time
from collections.abc import Callable, Sequence

from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import write_json, write_text
from weather_hpc.launch import watch
from weather_hpc.launch.command import submits_workers
from weather_hpc.launch.run_folder import make_ready, record_end
from weather_hpc.launch.sbatch import array_script, chunks, collect_script
from weather_hpc.launch.script import slurm_run_script
from weather_hpc.launch.watch import job_and_run_states
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.provenance import utc_now
from weather_hpc.runs.record import Status
from weather_hpc.runs.state import RunState
from weather_hpc.slurm import cluster as slurm_cluster
from weather_hpc.slurm import ledger
from weather_hpc.slurm.accounting import poll, submitted
from weather_hpc.slurm.client import Slurm, SlurmAwayError, SlurmError, once, stderr_of
from weather_hpc.slurm.directives import Shape, by_shape, job_name
from weather_hpc.slurm.jobs import Job
from weather_hpc.slurm.ledger import Submission, find, open_jobs, settle
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec, Stage

COLLECT = "collect"
"""What the ledger calls the job that collects."""

SETTLING_S = 20.0
"""A controller that has just restarted refuses what fits, until its nodes have reported."""


class SlurmExecutor:
    """Submits a plan's runs and remembers that it did.

    All but :meth:`wait` is to be called under the folder's lock.
    """

    def __init__(
        self, plan: Plan, paths: StudyPaths, site: SiteProfile, slurm: Slurm | None = None
    ) -> None:
        self.plan = plan
        self.paths = paths
        self.site = site
        self.slurm = slurm or Slurm()
        self.in_hand: set[str] = set()
        """Runs that wait or run, as far as this sweep knows."""
        self.made = 0
        """Arrays that this sweep has submitted."""

    def active(self) -> dict[str, Job]:
        """The jobs of runs that wait or run, by run_id; they are never submitted again."""
        settle(self.paths, self.slurm)
        jobs = poll(self.paths, self.slurm)
        return {run_id: job for run_id, job in jobs.items() if job.active}

    def run(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        """Submit ``specs``, training after the run that packs its store; where each stands.

        What no node can hold is recorded as skipped with the reason. Raises UserError where the
        cluster takes none of it, FailedError where it does not answer.
        """
        self.in_hand = set(self.active())
        cluster = slurm_cluster.ask(self.slurm)
        slurm_cluster.check_partitions(cluster, self.site)
        new = [spec for spec in specs if spec.run_id not in self.in_hand]
        fitting = self._without_skipped(new, cluster)
        size = min(self.site.slurm.max_array_size or sys.maxsize, cluster.max_array_size)
        for shape, group in by_shape(fitting, self.site.slurm).items():
            for chunk in chunks(group, size):
                after = self._needs(shape)
                if after is None:
                    for spec in chunk:
                        reason = "the store could not be packed: its run was skipped or failed"
                        record_end(self.paths, spec, Status.FAILED, reason)
                    continue
                job_id = self._submit_array(shape, chunk, after)
                self.made += 1
                self.slurm.say(f"job {job_id}: {shape.label}, {len(chunk)} runs")
                self.in_hand.update(spec.run_id for spec in chunk)
        return job_and_run_states(self.paths, specs, poll(self.paths, self.slurm))

    def wait(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        """Wait until none of ``specs`` waits or runs any more; where each stands then."""
        return watch.wait(self.paths, specs, self.site.slurm, self.slurm)

    def leave(self) -> list[int]:
        """Submit the job that collects once everything has ended; the ids of all open jobs."""
        tasks = submitted(self.paths)
        open_ids = sorted({int(tasks[run_id].job_id.split("_")[0]) for run_id in self.active()})
        if not open_ids:
            return []
        queued = set(open_jobs(self.paths, self.slurm))
        collecting = [e.job_id for e in ledger.load(self.paths) if e.about == COLLECT]
        waiting = [job_id for job_id in collecting if job_id in queued]
        if waiting and not self.made:
            return [*open_ids, *waiting]
        token = ledger.new_token()
        text = collect_script(self.plan.study, token, self.paths, self.site)
        entry = Submission(token, job_name(self.plan.study, token), COLLECT, [], utc_now())
        after = f"--dependency=afterany:{':'.join(map(str, open_ids))}"
        return [*open_ids, self.submit(entry, text, [after])]

    def _without_skipped(
        self, specs: Sequence[RunSpec], cluster: slurm_cluster.Cluster
    ) -> list[RunSpec]:
        """``specs`` that the cluster can hold; the others get their record."""
        kept: list[RunSpec] = []
        for spec in specs:
            reason = slurm_cluster.skip_reason(spec, cluster, self.site)
            if reason is None:
                kept.append(spec)
            else:
                self._skip([spec], reason)
        refused: dict[Shape, str] = {}
        shapes = by_shape(kept, self.site.slurm)
        for shape, group in shapes.items():
            try:
                self._test(shape, group, cluster)
            except SlurmError as error:
                refused[shape] = str(error)
        if refused and len(refused) == len(shapes):
            raise UserError(
                f"sbatch refuses every job: {'; '.join(dict.fromkeys(refused.values()))}"
            )
        for shape, reason in refused.items():
            self._skip(shapes[shape], f"sbatch refuses the job: {reason}")
        return [spec for shape, group in shapes.items() if shape not in refused for spec in group]

    def _skip(self, specs: Sequence[RunSpec], reason: str) -> None:
        for spec in specs:
            record_end(self.paths, spec, Status.SKIPPED, reason)
            self.slurm.say(f"{spec.run_id}: skipped ({reason})")

    def _test(self, shape: Shape, specs: Sequence[RunSpec], cluster: slurm_cluster.Cluster) -> None:
        """Ask sbatch whether it would take such a job. Raises SlurmError where it would not.

        Nodes that are out of service make it answer as if they were not there, though a job
        would wait for them: what the nodes have was compared before.
        """
        waits = any(node.out_of_service for node in cluster.nodes)
        script = self.paths.array_script("test-only")
        write_text(script, array_script(shape, specs[:1], "test", self.paths, self.site))
        deadline = time.monotonic() + SETTLING_S

        def attempt() -> str:
            try:
                return stderr_of("sbatch", "--test-only", str(script))
            except SlurmAwayError:
                raise
            except SlurmError as error:
                if "configuration is not available" not in str(error):
                    raise
                if waits:
                    return f"waits for nodes that are out of service ({error})"
                if time.monotonic() < deadline:
                    raise SlurmAwayError(str(error)) from None
                raise

        try:
            said = self.slurm.patiently(attempt)
        finally:
            script.unlink()
        self.slurm.say(f"{shape.label}, {len(specs)} runs: {said}")

    def _needs(self, shape: Shape) -> list[str] | None:
        """sbatch's options for what must come first; None where that will never come."""
        store = self.plan.prepare
        if shape.stage is not Stage.TRAIN or store is None:
            return []
        if store.run_id in self.in_hand:
            first = submitted(self.paths)[store.run_id].job_id
            return [f"--dependency=afterok:{first}", "--kill-on-invalid-dep=yes"]
        return [] if self.paths.store(self.plan.store_name).exists() else None

    def _submit_array(self, shape: Shape, specs: Sequence[RunSpec], options: list[str]) -> int:
        self._write_runs(specs, self.site)
        entry = self._intent(shape, specs)
        return self.submit(
            entry, array_script(shape, specs, entry.token, self.paths, self.site), options
        )

    def _write_runs(self, specs: Sequence[RunSpec], site: SiteProfile) -> None:
        """Make the runs' folders ready and write the script of each."""
        for spec in specs:
            run = self.paths.run(spec.run_id)
            make_ready(run, spec)
            if submits_workers(spec):
                write_json(run.site, site.model_dump(mode="json", exclude_none=True))
            script = slurm_run_script(self.plan, spec, self.paths, site)
            write_text(self.paths.script(spec.run_id), script)

    def _intent(self, shape: Shape, specs: Sequence[RunSpec]) -> Submission:
        """A new entry of the ledger for an array of ``specs``."""
        token = ledger.new_token()
        name = job_name(self.plan.study, token)
        return Submission(token, name, shape.label, [spec.run_id for spec in specs], utc_now())

    def submit(self, entry: Submission, text: str, options: list[str]) -> int:
        """Submit the sbatch script ``text``; the job's id. Raises FailedError if refused."""
        script = self.paths.array_script(entry.token)
        write_text(script, text)
        self.paths.job_logs.mkdir(parents=True, exist_ok=True)
        return self._once(
            entry, lambda: _job_id(once("sbatch", "--parsable", *options, str(script)))
        )

    def _once(self, entry: Submission, submit: Callable[[], int]) -> int:
        """Write the intent, call ``submit``, write the job id that it gives; which is returned."""
        ledger.save(self.paths, entry)
        tries = 0

        def attempt() -> int:
            nonlocal tries
            tries += 1
            # an answer that did not arrive does not say that the job did not
            found = find(entry) if tries > 1 else None
            return found or submit()

        try:
            job_id = self.slurm.patiently(attempt)
        except SlurmError as error:
            ledger.forget(self.paths, entry)
            raise FailedError(f"{entry.about}: {error}") from None
        ledger.with_job(self.paths, entry, job_id)
        return job_id


def _job_id(printed: str) -> int:
    """The id in what ``sbatch --parsable`` printed: ``123`` or ``123;cluster`` on a line."""
    found = re.findall(r"^(\d+)(?:;\S+)?\s*$", printed, re.MULTILINE)
    if not found:
        raise SlurmError(f"sbatch printed no job id but {printed.strip()[:200]!r}")
    return int(found[-1])

"""The Slurm executor: job arrays submitted with sbatch, each exactly once."""

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import write_json
from weather_hpc.launch import watch
from weather_hpc.launch.first_runs import AlikeFailure, FirstRuns
from weather_hpc.launch.folders import free_runs, make_ready, record_end, write_script
from weather_hpc.launch.sbatch import CheckJob, array_script, check_script, chunks, collect_script
from weather_hpc.launch.script import slurm_run_script
from weather_hpc.launch.watch import current_states
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.provenance import utc_now
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import Status
from weather_hpc.runs.state import RunState
from weather_hpc.slurm import ledger
from weather_hpc.slurm.accounting import poll, submitted_jobs
from weather_hpc.slurm.client import Slurm, SlurmAwayError, SlurmError, call, stderr_of
from weather_hpc.slurm.cluster import (
    Cluster,
    check_partitions,
    read_cluster,
    several_models,
    skip_reason,
)
from weather_hpc.slurm.directives import JobOption, Shape, by_shape, job_name
from weather_hpc.slurm.jobs import Job, Key, base_id
from weather_hpc.slurm.ledger import Submission
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.stages import reads_store
from weather_hpc.text import counted

COLLECT = "collect"
"""What the ledger calls the collecting job."""

SETTLING_S = 20.0
"""How long a restarted controller may refuse jobs that fit, s: until its nodes have reported."""


class SlurmExecutor:
    """Submits a plan's runs and records each submission.

    All methods but :meth:`wait` are to be called under the folder's lock.
    """

    def __init__(
        self,
        plan: Plan,
        paths: StudyPaths,
        site: SiteProfile,
        first_runs: FirstRuns | None = None,
        between_runs: watch.BetweenRuns = watch.nothing,
        slurm: Slurm | None = None,
    ) -> None:
        self.plan = plan
        self.paths = paths
        self.site = site
        self.first_runs = first_runs or FirstRuns(paths, plan, keep_going=True)
        self.between_runs = between_runs
        self.slurm = slurm or Slurm()
        self.queued: set[str] = set()
        """Runs that are queued or running, as far as this sweep knows."""
        self.arrays = 0
        """Arrays that this sweep has submitted."""

    def active(self) -> dict[str, Job]:
        """The jobs of queued or running runs, by run_id; they are never submitted again."""
        ledger.settle(self.paths, self.slurm)
        jobs = poll(self.paths, self.slurm)
        return {run_id: job for run_id, job in jobs.items() if job.active}

    def run(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        """Submit ``specs``, training after the run that packs its store, predictions after all
        training; the state of each.

        Runs that no node can hold are recorded as skipped with the reason. Raises UserError where
        the cluster accepts none of them, FailedError where it does not answer.
        """
        self.queued = set(self.active())
        cluster = read_cluster(self.slurm)
        check_partitions(cluster, self.site)
        new = [spec for spec in specs if spec.run_id not in self.queued]
        free = free_runs(self.paths, new)
        used = {spec.run_id: RunState.RUNNING for spec in new if spec not in free}
        new = free
        notice = several_models(cluster, self.site)
        if notice and any(spec.resources.gpus_per_node for spec in new):
            self.slurm.notify(notice)
        size = min(self.site.slurm.max_array_size or sys.maxsize, cluster.max_array_size)
        for shape, group in self._accepted(new, cluster).items():
            for chunk in chunks(group, size):
                dependency = self._dependency(shape)
                if dependency is None:
                    for spec in chunk:
                        record_end(self.paths, spec, Status.FAILED, self._why_no_store())
                    continue
                job_id = self._submit_array(shape, chunk, dependency)
                self.arrays += 1
                self.slurm.notify(f"job {job_id}: {shape.label}, {counted(len(chunk), 'run')}")
                self.queued.update(spec.run_id for spec in chunk)
        return current_states(self.paths, specs, poll(self.paths, self.slurm)) | used

    def wait(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        """Wait until none of ``specs`` is queued or running; the state of each then.

        Where the first runs of a stage fail alike, its pending runs are cancelled, unless a user
        wants to continue.
        """
        while True:
            states = watch.wait(
                self.paths,
                specs,
                self.site.slurm,
                self.slurm,
                until=lambda states: self._alike(specs, states) is not None,
                between=self.between_runs,
            )
            failure = self._alike(specs, states)
            if failure is None:
                return states
            pending = _pending(specs, states, failure.stage)
            if self.first_runs.stops(failure, len(pending)):
                self._cancel(pending, f"not made: {failure}")

    def _alike(
        self, specs: Sequence[RunSpec], states: Mapping[str, RunState]
    ) -> AlikeFailure | None:
        """The failure of a stage's first runs, where other runs of that stage are pending."""
        ended = [s for s in specs if states[s.run_id] in (RunState.DONE, RunState.FAILED)]
        failure = self.first_runs.failure(ended)
        return failure if failure and _pending(specs, states, failure.stage) else None

    def _cancel(self, specs: Sequence[RunSpec], reason: str) -> None:
        """Cancel the pending jobs of ``specs``; a job that has started meanwhile goes on."""
        for spec in specs:
            record_end(self.paths, spec, Status.CANCELLED, reason)
        submitted = submitted_jobs(self.paths)
        jobs = {(base_id(submitted[s.run_id].job_id), submitted[s.run_id].name) for s in specs}
        try:
            ledger.cancel(self.slurm, jobs, "--state=PENDING")
        except SlurmError as error:
            ids = ", ".join(sorted(job_id for job_id, _ in jobs))
            raise FailedError(f"jobs {ids} cannot be cancelled: {error}") from None

    def leave(self) -> list[int]:
        """Submit the job that collects after all others; the ids of all open jobs, it last."""
        jobs = submitted_jobs(self.paths)
        open_ids = sorted({int(base_id(jobs[run_id].job_id)) for run_id in self.active()})
        if not open_ids:
            return []
        collecting = {entry.job_name for entry in ledger.load(self.paths) if entry.about == COLLECT}
        in_queue = ledger.open_jobs(self.paths, self.slurm)
        waiting = [int(job_id) for job_id, name in in_queue if name in collecting]
        if waiting and not self.arrays:
            return [*open_ids, *waiting]
        entry = self._entry(COLLECT, [])
        text = collect_script(self.plan.study, entry.token, self.paths, self.site)
        after = JobOption("dependency", f"afterany:{':'.join(map(str, open_ids))}")
        return [*open_ids, self.submit(entry, text, [after])]

    def submit_check(self, check: CheckJob, after: Key | None) -> Key:
        """Submit ``check``, to start when the job ``after`` has ended; the job's id and name."""
        entry = self._entry(check.name, [])
        text = check_script(check, entry.job_name, entry.token, self.paths, self.site)
        options = [] if after is None else [JobOption("dependency", f"afterany:{after[0]}")]
        return str(self.submit(entry, text, options)), entry.job_name

    def _accepted(self, specs: Sequence[RunSpec], cluster: Cluster) -> dict[Shape, list[RunSpec]]:
        """Those of ``specs`` that the cluster can run, by shape; others are recorded as skipped."""
        accepted: list[RunSpec] = []
        for spec in specs:
            reason = skip_reason(spec, cluster, self.site)
            if reason is None:
                accepted.append(spec)
            else:
                self._skip([spec], reason)
        shapes = by_shape(accepted, self.site.slurm)
        refused: dict[Shape, str] = {}
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
            self._skip(shapes.pop(shape), f"sbatch refuses the job: {reason}")
        return shapes

    def _skip(self, specs: Sequence[RunSpec], reason: str) -> None:
        for spec in specs:
            record_end(self.paths, spec, Status.SKIPPED, reason)
            self.slurm.notify(f"{spec.run_id}: skipped ({reason})")

    def _test(self, shape: Shape, specs: Sequence[RunSpec], cluster: Cluster) -> None:
        """Ask sbatch whether it would accept the job. Raises SlurmError where it would not.

        While nodes are out of service or being switched off it answers as if they did not exist,
        though a job would wait for them: that they are large enough has been checked before.
        """
        waits = any(node.out_of_service or node.powering_down for node in cluster.nodes)
        script = self.paths.array_script("test-only")
        write_script(script, array_script(shape, specs[:1], "test", self.paths, self.site))
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
            answer = self.slurm.patiently(attempt)
        finally:
            script.unlink()
        self.slurm.notify(f"{shape.label}, {counted(len(specs), 'run')}: {answer}")

    def _dependency(self, shape: Shape) -> list[JobOption] | None:
        """The options that make runs wait for what they read: the store, or trained networks.

        None: there is no store.
        """
        if shape.stage is Stage.PREDICT:
            return self._after_training()
        store = self.plan.prepare
        if not reads_store(shape.stage) or store is None:
            return []
        if store.run_id in self.queued:
            job_id = submitted_jobs(self.paths)[store.run_id].job_id
            return [
                JobOption("dependency", f"afterok:{job_id}"),
                JobOption("kill-on-invalid-dep", "yes"),
            ]
        return [] if self.paths.store(self.plan.store_name).exists() else None

    def _why_no_store(self) -> str:
        store = self.plan.prepare
        why = store and read_run(self.paths.run(store.run_id).root).row.reason
        return f"the store could not be packed: {why or 'its run was skipped or failed'}"

    def _after_training(self) -> list[JobOption]:
        """The option that makes a run wait until all training has ended, even if it failed."""
        training = {spec.run_id for spec in self.plan.runs if spec.stage is Stage.TRAIN}
        jobs = submitted_jobs(self.paths)
        ids = {int(base_id(jobs[run_id].job_id)) for run_id in training & self.queued}
        after = ":".join(map(str, sorted(ids)))
        return [JobOption("dependency", f"afterany:{after}")] if ids else []

    def _submit_array(
        self, shape: Shape, specs: Sequence[RunSpec], options: list[JobOption]
    ) -> int:
        entry = self._entry(shape.label, specs)
        self._write_runs(specs, self.site, entry.token)
        text = array_script(shape, specs, entry.token, self.paths, self.site)
        return self.submit(entry, text, options)

    def _write_runs(self, specs: Sequence[RunSpec], site: SiteProfile, token: str) -> None:
        """Make the runs' folders ready for the submission ``token``; write each run's script."""
        for spec in specs:
            run = self.paths.run(spec.run_id)
            make_ready(run, spec, token)
            if spec.submits_workers:
                write_json(run.site, site.model_dump(mode="json", exclude_none=True))
            script = slurm_run_script(self.plan, spec, self.paths, site)
            write_script(self.paths.script(spec.run_id), script)

    def _entry(self, about: str, specs: Sequence[RunSpec]) -> Submission:
        """A new entry of the ledger, for an array of ``specs`` or a job that runs none."""
        token = ledger.new_token()
        run_ids = [spec.run_id for spec in specs]
        return Submission(token, job_name(self.plan.study, token), about, run_ids, utc_now())

    def submit(self, entry: Submission, text: str, options: Sequence[JobOption]) -> int:
        """Submit the sbatch script ``text``; the job's id. Raises FailedError if refused."""
        script = self.paths.array_script(entry.token)
        write_script(script, text)
        self.paths.job_logs.mkdir(parents=True, exist_ok=True)
        argv = ["sbatch", "--parsable", *map(str, options), str(script)]
        return self._record_submission(entry, lambda: _job_id(call(*argv)))

    def _record_submission(self, entry: Submission, submit: Callable[[], int]) -> int:
        """Write ``entry`` to the ledger, call ``submit``, add the job id it returns; that id."""
        ledger.save(self.paths, entry)
        tries = 0

        def attempt() -> int:
            nonlocal tries
            tries += 1
            # where the answer did not arrive, the job may have been accepted all the same
            job_id = ledger.find_job(entry) if tries > 1 else None
            return job_id or submit()

        try:
            job_id = self.slurm.patiently(attempt)
        except SlurmError as error:
            ledger.forget(self.paths, entry)
            raise FailedError(f"{entry.about}: {error}") from None
        ledger.with_job(self.paths, entry, job_id)
        return job_id


def _pending(
    specs: Sequence[RunSpec], states: Mapping[str, RunState], stage: Stage
) -> list[RunSpec]:
    """Those of ``specs`` that are of ``stage`` and wait in the queue."""
    return [s for s in specs if s.stage is stage and states[s.run_id] is RunState.PENDING]


def _job_id(printed: str) -> int:
    """The id in what ``sbatch --parsable`` printed: ``123`` or ``123;cluster`` on a line."""
    ids = re.findall(r"^(\d+)(?:;\S+)?\s*$", printed, re.MULTILINE)
    if not ids:
        raise SlurmError(f"sbatch printed no job id but {printed.strip()[:200]!r}")
    return int(ids[-1])

"""Rendering job scripts: pure functions from what is asked to text a person can read and run."""

from collections.abc import Sequence
from pathlib import Path

from weather_hpc import cli
from weather_hpc.launch.command import stage_command, submits_workers
from weather_hpc.runs.environment import run_environment
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.slurm.directives import gpu_options, quote
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.slurm_site import SlurmSite
from weather_hpc.study.spec import RunSpec

FIRST_PORT, PORTS = 10000, 20000
"""Where ranks of several nodes meet: below the ports that Linux hands to clients."""

_TRAPS = """\
# The warning before the time limit, or a TERM, becomes a file that training looks for at every
# step: it then writes a checkpoint and ends.
ask_to_stop() { echo "$1" >"$run/stop"; signalled=1; }
trap 'ask_to_stop time-limit' USR1
trap 'ask_to_stop terminated' TERM
"""

_SUPERVISE = """\
child=$!
# Bash runs a trap only once the command in the foreground ends: hence the `&` above and `wait`,
# and `wait` again where a signal has ended it early.
while :; do
    signalled=
    wait "$child"
    code=$?
    [ -n "$signalled" ] || break
done
"""

_REQUEUE = """\
# Only the warning before the time limit leads back to the queue from here: after a TERM it is
# Slurm (preemption) or the user (scancel) who knows whether the job is to come again.
if [ "$code" -eq {stopped} ] && [ "$(cat "$run/stop" 2>/dev/null)" = time-limit ] &&
    [ "${{SLURM_RESTART_COUNT:-0}}" -lt {times} ]; then
    for pause in 0 1 2 4 8; do
        sleep "$pause"
        scontrol requeue "${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_}}\
${{SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}}" && exit "$code"
    done
fi
"""

_MEET = """\
# where the ranks meet: the first node, by its address where its name does not resolve
master=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
getent hosts "$master" >/dev/null ||
    master=$(scontrol show node -o "$master" | sed -n 's/.*NodeAddr=\\([^ ]*\\).*/\\1/p')
export PET_MASTER_ADDR=$master PET_MASTER_PORT=$((%d + SLURM_JOB_ID %% %d))
"""

_RUN = RunPaths(Path("$run"))
"""The run's files, as scripts name them."""

_INTO_LOGS = f'>"{_RUN.stdout}" 2>"{_RUN.stderr}"'

_LEAVE = f"""\
# the exit code speaks for a run that died before it could write its record
printf '{{"code": %d, "ended_at": "%s"}}\\n' "$code" "$(date -u +%FT%TZ)" >"{_RUN.exit}.part" &&
    mv "{_RUN.exit}.part" "{_RUN.exit}"
exit "$code"
"""


def command_lines(argv: Sequence[str]) -> str:
    """``argv`` quoted, with each option on a line of its own."""
    lines: list[str] = []
    for word in map(quote, argv):
        if word.startswith("--") or not lines:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return " \\\n    ".join(lines)


def run_script(plan: Plan, spec: RunSpec, paths: StudyPaths, site: SiteProfile) -> str:
    """The whole script of one run: environment, command, and the exit code it leaves behind."""
    argv = stage_command(plan, spec, paths, site.python)
    return "\n".join(
        [
            _head(spec, paths, site, "runs by hand as well"),
            command_lines(argv) + f" \\\n    {_INTO_LOGS}",
            "code=$?",
            "",
            _LEAVE,
        ]
    )


def slurm_run_script(plan: Plan, spec: RunSpec, paths: StudyPaths, site: SiteProfile) -> str:
    """The script of one run inside its Slurm job, whose directives stand in the array's script.

    It passes the warning before the time limit on as a file that training looks for, and goes
    back to the queue when training has stopped for that.
    """
    site_file = paths.run(spec.run_id).site
    argv = stage_command(plan, spec, paths, site.python, site.slurm.without_cuda, site_file)
    head = _head(spec, paths, site, "runs inside a Slurm job")
    return f"{head}\n{supervised(spec, argv, site.slurm)}"


def supervised(spec: RunSpec, argv: Sequence[str], slurm: SlurmSite) -> str:
    """The part of a job that runs ``argv``, for ``spec``, to its end or until it is to stop.

    The shell's variable ``run`` is to name the run's folder.
    """
    command = [*map(command_lines, filter(None, [srun(spec, slurm), argv])), _INTO_LOGS]
    parts = [
        *meeting(spec),
        f'rm -f "{_RUN.stop}" "{_RUN.stopped}"',
        _TRAPS,
        " \\\n    ".join(command) + " &",
        _SUPERVISE,
        f'[ ! -e "{_RUN.stopped}" ] || code={cli.EXIT_STOPPED}',
    ]
    if slurm.requeue:
        parts.append(_REQUEUE.format(stopped=cli.EXIT_STOPPED, times=slurm.max_requeues))
    return "\n".join([*parts, _LEAVE])


def meeting(spec: RunSpec) -> list[str]:
    """What tells torchrun on each of several nodes where their ranks meet."""
    return [_MEET % (FIRST_PORT, PORTS)] if spec.resources.nodes > 1 else []


def prelude(spec: RunSpec, site: SiteProfile) -> list[str]:
    """What comes before the command of ``spec``: modules, the site's set-up, the environment."""
    return [
        *(f"module load {quote(module)}" for module in site.modules),
        *site.setup,
        *(f"export {k}={quote(v)}" for k, v in run_environment(spec, site).items()),
    ]


def _head(spec: RunSpec, paths: StudyPaths, site: SiteProfile, how: str) -> str:
    parts = [
        "#!/usr/bin/env bash",
        f"# {spec.run_id} of study {spec.study}, written by weather_hpc; {how}",
        "set -uo pipefail",
        *prelude(spec, site),
        "",
        f"run={quote(str(paths.run(spec.run_id).root))}",
        'mkdir -p "$run"',
        "",
    ]
    return "\n".join(parts)


def srun(spec: RunSpec, slurm: SlurmSite) -> list[str]:
    """One task on each node. Options repeat the job's, for srun inherits not all of them.

    A run that submits its own workers stays outside: what it starts is no step of this job.
    """
    if submits_workers(spec):
        return []
    asked = spec.resources
    argv = [
        "srun",
        f"--nodes={asked.nodes}",
        f"--ntasks={asked.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={asked.cpus_per_node}",
        *gpu_options(asked, slurm),
    ]
    if slurm.cpu_bind is not None:
        argv.append(f"--cpu-bind={slurm.cpu_bind}")
    argv += slurm.srun_options
    if asked.nodes > 1:
        # torchrun reads its options from PET_* too; the node's rank is known only on the node
        argv += ["bash", "-c", 'PET_NODE_RANK=$SLURM_NODEID exec "$0" "$@"']
    return argv

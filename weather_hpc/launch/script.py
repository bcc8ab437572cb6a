"""Rendering job scripts: pure functions from a run to a script that people can read and run."""

from collections.abc import Sequence

from weather_hpc import cli
from weather_hpc.launch.claim import RUN, job_lock_lines, lock_lines, still_wanted
from weather_hpc.launch.command import stage_command
from weather_hpc.runs.environment import run_environment
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.directives import gpu_options, quote
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile, SlurmSite
from weather_hpc.study.spec import RunSpec
from weather_hpc.train.rendezvous import PREFIX, RENDEZVOUS

SHEBANG = "#!/usr/bin/env bash"

COMMAND_GRACE_S = 10
"""Seconds between the TERM of a run's command and its KILL, where its script is told to end."""

_SUPERVISE_HERE = """\
pid=$!
# Told to end, it ends the command: with TERM, so that training can write a checkpoint, then KILL.
code=
end_command() {{
    trap '' HUP INT TERM
    code=$1
    kill -TERM "$pid"
    for ((tenths = 0; tenths < {grace_s}0; tenths++)); do
        kill -0 "$pid" || return
        sleep 0.1
    done
    kill -KILL "$pid"
}} 2>/dev/null
trap 'end_command 129' HUP
trap 'end_command 130' INT
trap 'end_command 143' TERM
wait "$pid"
ended=$?
code=${{code:-$ended}}
"""

_TRAPS = """\
# The warning before the time limit, or a TERM, is passed on as a file that training checks at every
# step: it then writes a checkpoint and ends.
ask_to_stop() { echo "$1" >"$run/stop"; signalled=1; }
trap 'ask_to_stop time-limit' USR1
trap 'ask_to_stop terminated' TERM
"""

_TOO_OFTEN = f"""\
# Slurm sets no limit to how often it requeues a job after preemptions and failures of nodes: this
# one bounds what the run can cost.
if [ "${{SLURM_RESTART_COUNT:-0}}" -gt %d ]; then
    echo "requeued more than %d times (the site's max_requeues)" \\
        >"{RUN.stderr}"
    code=1
    write_exit
fi
"""

_SUPERVISE = """\
pid=$!
# Bash runs a trap only after the command in the foreground has ended: hence the `&` above and
# `wait`, and another `wait` where a signal interrupted it.
while :; do
    signalled=
    wait "$pid"
    code=$?
    [ -n "$signalled" ] || break
done
"""

_REQUEUE = """\
# Only after the warning before the time limit does the job requeue itself: after a TERM, Slurm
# (preemption) or the user (scancel) decides whether it runs again.
if [ "$code" -eq {stopped} ] && [ "$(cat "$run/stop" 2>/dev/null)" = time-limit ] &&
    [ "${{SLURM_RESTART_COUNT:-0}}" -lt {times} ]; then
    for pause in 0 1 2 4 8; do
        sleep "$pause"
        scontrol requeue "${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_}}\
${{SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}}" && exit "$code"
    done
fi
"""

_RENDEZVOUS = """\
# The ranks meet at the first node, this one, by its address at the interface that they use, else at
# the one that leads to the last node. Only who has the key in this folder may speak to them.
last=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n '$p')
getent hosts "$last" >/dev/null ||
    last=$(scontrol show node -o "$last" | sed -n 's/.*NodeAddr=\\([^ ]*\\).*/\\1/p')
rm -rf {folder}/{prefix}*
{variable}=$({python} -m weather_hpc.train.rendezvous {folder} "$last")
export {variable}
"""

_INTO_LOGS = f'>"{RUN.stdout}" 2>"{RUN.stderr}"'

_WRITE_EXIT = f"""\
# the exit code of a run that ended before it could write its record
printf '{{"code": %d, "ended_at": "%s"}}\\n' "$code" "$(date -u +%FT%TZ)" >"{RUN.exit}.part" &&
    mv "{RUN.exit}.part" "{RUN.exit}" || rm -f "{RUN.exit}.part"
exit "$code"
"""

_JOB_EXIT = f"""\
# The exit code of a run that ended before it could write its record, and how long the whole job
# took, s: where there is no accounting, its node-hours follow from that.
write_exit() {{
    local took=$SECONDS since_start
    since_start=$(($(date +%s) - ${{SLURM_JOB_START_TIME:-$(date +%s)}}))
    [ "$took" -ge "$since_start" ] || took=$since_start
    printf '{{"code": %d, "ended_at": "%s", "job_s": %d, "restarts": %d}}\\n' \\
        "$code" "$(date -u +%FT%TZ)" "$took" "${{SLURM_RESTART_COUNT:-0}}" >"{RUN.exit}.part" &&
        mv "{RUN.exit}.part" "{RUN.exit}"
    exit "$code"
}}
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
    """The script of one run on this machine: environment, command, exit.json."""
    argv = stage_command(plan, spec, paths, site.python)
    return "\n".join(
        [
            *_head(spec, paths, "can be run by hand too"),
            *setup_lines(spec, site),
            "",
            'mkdir -p "$run"',
            lock_lines(),
            "# where this shell is killed, the command is told to end",
            "with_parent=",
            "! setpriv --pdeathsig TERM true 2>/dev/null || with_parent='setpriv --pdeathsig TERM'",
            "$with_parent " + command_lines(argv) + f" \\\n    {_INTO_LOGS} &",
            _SUPERVISE_HERE.format(grace_s=COMMAND_GRACE_S),
            _WRITE_EXIT,
        ]
    )


def slurm_run_script(plan: Plan, spec: RunSpec, paths: StudyPaths, site: SiteProfile) -> str:
    """The script of one run inside its Slurm job; the array's script has the directives.

    It passes the warning before the time limit on as a file that training checks for, and
    requeues the job when training has stopped because of it.
    """
    site_file = paths.run(spec.run_id).site
    argv = stage_command(plan, spec, paths, site.python, site.slurm.without_cuda, site_file)
    return "\n".join(
        [
            *_head(spec, paths, "runs inside a Slurm job; its argument: the submission's token"),
            still_wanted("${1-}", paths, RUN),
            *setup_lines(spec, site),
            "",
            'mkdir -p "$run"',
            job_lock_lines(),
            supervised(spec, argv, site.slurm),
        ]
    )


def supervised(spec: RunSpec, argv: Sequence[str], slurm: SlurmSite) -> str:
    """The part of a job that runs ``argv``, for ``spec``, until it ends or is to stop.

    The shell's variable ``run`` holds the path of the run's folder.
    """
    command = [*map(command_lines, filter(None, [srun(spec, slurm), argv])), _INTO_LOGS]
    parts = [
        _JOB_EXIT,
        _TOO_OFTEN % (slurm.max_requeues, slurm.max_requeues),
        *rendezvous_lines(spec, quote(argv[0]), f'"{RUN.root}"'),
        f'rm -f "{RUN.stop}" "{RUN.stopped}"',
        _TRAPS,
        " \\\n    ".join(command) + " &",
        _SUPERVISE,
        f'[ ! -e "{RUN.stopped}" ] || code={cli.EXIT_STOPPED}',
    ]
    if slurm.requeue:
        parts.append(_REQUEUE.format(stopped=cli.EXIT_STOPPED, times=slurm.max_requeues))
    return "\n".join([*parts, "write_exit", ""])


def rendezvous_lines(spec: RunSpec, python: str, folder: str) -> list[str]:
    """Makes the place where the ranks of several nodes meet; empty for one node.

    ``python`` and ``folder``, which all nodes share, are words of the shell.
    """
    if spec.resources.nodes == 1:
        return []
    words = {"python": python, "folder": folder, "prefix": PREFIX, "variable": RENDEZVOUS}
    return [_RENDEZVOUS.format(**words)]


def module_lines(site: SiteProfile) -> list[str]:
    """The site's modules and set-up lines."""
    return [*(f"module load {quote(module)}" for module in site.modules), *site.setup]


def setup_lines(spec: RunSpec, site: SiteProfile) -> list[str]:
    """What precedes the command of ``spec``: modules, the site's set-up, the environment."""
    variables = run_environment(spec, site).items()
    return [*module_lines(site), *(f"export {name}={quote(value)}" for name, value in variables)]


def _head(spec: RunSpec, paths: StudyPaths, use: str) -> list[str]:
    return [
        SHEBANG,
        f"# {spec.run_id} of study {spec.study}, written by weather_hpc; {use}",
        "set -uo pipefail",
        "umask go-w  # or others could change what is run from here",
        f"run={quote(str(paths.run(spec.run_id).root))}",
        "",
    ]


def srun(spec: RunSpec, slurm: SlurmSite) -> list[str]:
    """srun's argument list: one task on each node; empty for a run that submits its own workers.

    It repeats the job's options, since srun does not inherit all of them.
    """
    if spec.submits_workers:
        return []
    resources = spec.resources
    argv = [
        "srun",
        f"--nodes={resources.nodes}",
        f"--ntasks={resources.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={resources.cpus_per_node}",
        *map(str, gpu_options(resources, slurm)),
    ]
    if slurm.cpu_bind is not None:
        argv.append(f"--cpu-bind={slurm.cpu_bind}")
    argv += slurm.srun_options
    if resources.nodes > 1:
        # torchrun reads its options from PET_* too; the node's rank is known only on the node
        argv += ["bash", "-c", 'PET_NODE_RANK=$SLURM_NODEID exec "$0" "$@"']
    return argv

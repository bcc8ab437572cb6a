"""How a script claims its run: lines that lock the folder, or find that its time has passed."""

from pathlib import Path

from weather_hpc.runs.lock import HAND, SWEEP, TOKEN
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.slurm.directives import quote

RUN = RunPaths(Path("$run"))
"""The run's files, as scripts name them."""

_TAKE_LOCK = r"""# One run at a time in a folder: all processes that inherit this lock hold it.
refuse() {{
    who=$(sed -n 's/.*"pid": \([0-9]*\), "host": "\([^"]*\)".*/pid \1 on \2/p' "$1")
    echo "$run: in use by ${{who:-another process}}; nothing was started" >&2
    exit 1
}}
exec 9>>"{script_lock}" || exit 1
flock -w {wait_s} 9
case $? in
0) ;;
1) refuse "{script_lock}" ;;
*) echo "$run: this file system has no locks: start no second run in this folder" >&2 ;;
esac
flock -w {wait_s} "{lock}" true
[ $? -ne 1 ] || refuse "{lock}"
{by}
read -r -a process < <(sed 's/.*) //' /proc/$$/stat)
printf '{{"pid": %d, "host": "%s", "boot_id": "%s", "started": %d, ' \
    $$ "$HOSTNAME" "$(cat /proc/sys/kernel/random/boot_id)" "${{process[19]}}" >"{script_lock}"
printf '"session": %d, "token": "%s", "by": "%s"}}\n' "${{process[3]}}" "${token}" "$by" \
    >>"{script_lock}"
"""

_NEW_TOKEN = f"{TOKEN}=$(cat /proc/sys/kernel/random/uuid)"

_BY_SWEEP_OR_HAND = f"""\
by={SWEEP}
if [ -z "${{{TOKEN}:-}}" ]; then
    {_NEW_TOKEN}
    by={HAND}
fi
export {TOKEN}"""

_BY_JOB = f"""\
export {_NEW_TOKEN}
by="job ${{SLURM_JOB_ID:-}}\""""

JOB_LOCK_WAIT_S = 120
"""How long a job waits for processes of its run that end, as on a node that was lost, s."""

_STILL_WANTED = """\
# A job that arrives late, when its run has been given to another job, must not make it again.
token={token}
if [ -n "$token" ]; then
    echo "${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}" 2>/dev/null >{folder}/"$token.job"
    if [ ! -e {folder}/"$token.json" ]{or_given}; then
        echo "job ${{SLURM_JOB_ID:-}}: its submission $token is no longer valid: a later one took \
its place; nothing was done" >&2
        exit 0
    fi
fi
"""


def lock_lines() -> str:
    """The lines that lock the folder ``$run`` for a script on this machine, or end it."""
    return _take_lock(_BY_SWEEP_OR_HAND, wait_s=0)


def job_lock_lines() -> str:
    """The same for a Slurm job, which waits for up to JOB_LOCK_WAIT_S."""
    return _take_lock(_BY_JOB, wait_s=JOB_LOCK_WAIT_S)


def _take_lock(by: str, wait_s: int) -> str:
    """``by``: the lines that set who started it, and the token of its processes."""
    return _TAKE_LOCK.format(
        script_lock=RUN.script_lock, lock=RUN.lock, wait_s=wait_s, by=by, token=TOKEN
    )


def still_wanted(token: str, paths: StudyPaths, run: RunPaths | None = None) -> str:
    """The lines that end a job whose submission ``token`` is no longer valid, with exit code 0.

    The job leaves its id beside the entry of the ledger, before it looks for that: a sweep that
    removes the entry looks for the id afterwards. ``run``: the run it makes, if it makes one.
    """
    given = "" if run is None else f' || [ "$(cat "{run.submission}" 2>/dev/null)" != "$token" ]'
    folder = quote(str(paths.submissions))
    return _STILL_WANTED.format(token=token, folder=folder, or_given=given)

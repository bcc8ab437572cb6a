"""How a run ended, by what schedulers, launchers, PyTorch and shells print at a job's end."""

import re
from dataclasses import dataclass

from weather_hpc.logs.prefixes import PREFIX
from weather_hpc.runs.record import Status
from weather_hpc.text import clean

LONGEST = 200
"""Characters of a failure line that a reason repeats."""

# No digit is named in these two: lines that differ in digits alone are failures all or not at all
# (UnmatchedShapes). What many lines hold is not looked for within a line, which costs more.
_START = rb"""(?x:
    # Python: the name of an exception; a number behind it is a metric's
    Traceback[ ]\(most[ ]recent
  | KeyError:
  | (?! CommandNotFoundError:[ ]Your[ ]shell )
    (?: \w{1,60}+ \. ){0,9}+ _{0,2} [A-Z] \w{0,90}+
    (?: (?<=Error) | (?<=Exception) | (?<=Interrupt)
      | (?<=[a-z.]Timeout) | (?<=[a-z]Expired) | (?<=[a-z]Invalid) | (?<=\.Empty) | (?<=\.Full) )
    (?: (?: \(\w{1,60}\) )? :
        (?! \s* [-+]?[\d.]+ (?: [eE][-+]?\d+ )? (?: [\s%,;|] | \Z ) ) | \s* \Z )
  | Detected[ ]KeyboardInterrupt
  | Fatal[ ](?: Python[ ] )?error\b | Check[ ]failed:
    # shells
    # a script's line; argparse; torchrun's log
  | [^\s:]{1,200}+ : (?:
        [ ]line[ ]\d+:[ ]+ (?: \d+[ ][A-Z][\w /]{3,}
          | [^:]{1,100}:[ ](?: command[ ]not | No[ ]such | Permission ) )
      | [ ]error:[ ](?: unrecognized | the[ ]following | argument | ambiguous )
      | failed[ ]\(exitcode: )
  | (?: zsh:[ ] )? (?: [Kk]illed | Terminated | [Aa]borted? | Hangup | [Bb]us[ ]error
      | [Ii]llegal[ ](?:hardware[ ])?instruction | Floating[ ]point[ ]exception )
    (?: [ ]\([\w ]{1,30}\) )? (?: [ ]{2,}\S.* | [.]? \s* ) \Z
  | [Ss]egmentation[ ]fault
  | timeout:[ ]sending[ ]signal | User[ ]defined[ ]signal[ ]\d\s*\Z
    # the C library and the kernel
  | terminate[ ]called | \*\*\*[ ](?: Error[ ]in | stack[ ]smashing ) | double[ ]free | free\(\):
  | malloc\(\): | corrupted[ ](?: size | double ) | munmap_chunk
  | Caught[ ]signal[ ] | \*\*\*[ ]Process[ ]received[ ]signal
  | (?: Memory[ ]cgroup[ ] )? [Oo]ut[ ][Oo]f[ ][Mm]emory (?: [:.!,] | \s*\Z ) | Killed[ ]process[ ]
    # MPI
  | (?: mpirun | mpiexec | orterun | prterun | prun ) \b .{0,20}? [ ](?: noticed | detected )[ ]that
  | MPI_ABORT[ ]was | Abort\(\d+\)[ ]on[ ]node | Fatal[ ]error[ ]in[ ]
  | =[ ]{1,9}(?: BAD[ ]TERMINATION | KILLED[ ]BY[ ]SIGNAL )
  | (?: ORTE | PRTE )[ ]has[ ]lost
    # PyTorch
  | Unexpected[ ](?: bus[ ]error | segmentation[ ]fault | floating-point[ ]exc )
  | failed[ ]\(exitcode: | Watchdog[ ]caught[ ]collective
  | (?: CUDA | HIP )[ ]out[ ]of[ ]memory (?: [:.!,] | \s*\Z )
  | Received[ ](?: Signals\. )? (?: \d+ | SIG\w+ )[ ]death[ ]signal
  | Some[ ]NCCL[ ]operations[ ]have[ ]failed | Process[ ]group[ ]watchdog[ ]thread[ ]term
    # wrappers
  | (?: \[.*\][ ] )? exits[ ]with[ ]return[ ]code | Child[ ]process[ ]with[ ]PID[ ]\d+[ ]term
  | Command[ ](?: terminated[ ]by | exited[ ]with[ ]non ) | Primary[ ]job[ ]+terminated
  | (?: [Rr]eason:[ ]* )? OOMKilled | FATAL:
    # Slurm, PBS, LSF, Grid Engine, submitit
  | slurmstepd (?: -[\w.-]{1,80} )? :[ ](?: Exceeded | [SJ](?:tep|ob)[ ][\d.]+[ ]exceeded )
  | srun:[ ](?: Force[ ]Term | Job[ ]step[ ]aborted | sending[ ]Ctrl-C | forcing[ ]job[ ]term
      | interrupt[ ]\(one | First[ ]task[ ]exited
      | (?: launch/.{1,40}:[ ] )? Terminating[ ](?: StepId | job ) )
  | (?: srun | salloc ):[ ][Jj]ob[ ].{0,60}[ ](?: revoked | time[ ]limit )
  | (?: =>>[ ] )? PBS:[ ]job[ ]killed | TERM_[A-Z_]{2,30}:[ ]job | traceback[ ]:[ ]Signal[ ]
  | Exited[ ](?: with[ ]exit[ ]code | by[ ]signal ) | Subject:[ ]Job[ ]\d.*[ ]Exited
  | job[ ]\d+.{0,20}[ ]exceed(?: s[ ]job | ed[ ]hard )[ ]
  | (?: failed[ ]+\d+[ ]+:[ ]+ )? qmaster[ ]enforced
    # what seff and sacct say of a job, printed at its end
  | State:[ ](?: TIMEOUT | OUT_OF_MEMORY | NODE_FAIL | PREEMPTED | CANCELLED | FAILED )
      \b .{0,40}\(exit
  | \d+(?:_\d+)?[ ]+(?: \S+[ ]+ ){0,5}? (?: TIMEOUT | OUT_OF_ME | NODE_FAIL | PREEMPTED )
  | submitit[ ][A-Z]+[ ].{0,60}?(?: Caught[ ]signal.*: | Job[ ]has[ ]timed | triggered[ ]an[ ]exc )
  | Detected[ ]\d+[ ]oom | Some[ ]of[ ](?: the[ ]step | your )[ ].{0,40} [Kk]illed
)"""
"""How a line begins, behind what launchers and loggers put before it, that reports a failure."""

_WITHIN = rb"""(?x:
    (?: slurmstepd | slurmd | srun | salloc | sbatch ) (?: -[\w.-]{1,80} | \[[\w.-]{1,80}\] )?
      :[ ](?: error: | \*\*\* )
  | \*\*\*[ ](?: (?: JOB | STEP )[ ].{0,200}?
        (?: CANCELLED | KILLED | FAILED | UNCORRECT | TERMINATED )
      | REASON:[ ] )
)"""
"""What reports a failure wherever it is in a line, such as behind a progress bar without an end."""

_at_start = re.compile(b"(?i:" + PREFIX + b")(?P<ended>" + _START + b"|" + _WITHIN + b")")
_within = re.compile(b"(?P<ended>" + _WITHIN + b")")


def failure_in(line: bytes) -> bytes | None:
    """The part of ``line`` that reports how a run ended; None: it reports nothing of the kind."""
    found = _at_start.match(line)
    return failure_behind(line) if found is None else line[found.start("ended") :]


def failure_behind(line: bytes) -> bytes | None:
    """The same, of what a scheduler printed behind something else, such as a progress bar."""
    # to find a word takes a fraction of the time that a search by the expression takes
    found = _within.search(line) if b"error: " in line else None
    return None if found is None else line[found.start("ended") :]


# Ranks that end because another did, wrappers that repeat what a rank said, and messages of Slurm
# that need not matter.
_VAGUE = (
    rb"Traceback|ChildFailedError|Process(?:Raised|Exited)Exception|CalledProcessError"
    rb"|failed \(exitcode|death signal|SIGTERM|: Killed|: Terminated|^Terminated|^Hangup"
    rb"|exit code (?:130|137|143)\b|^Exited|^Subject:|^Killed\s*$|by peer|remote process"
    rb"|BrokenPipeError|ConnectionResetError|EOFError|Process received signal"
    rb"|exits with return|Child process|Command exited|Primary job|Some NCCL"
    rb"|triggered an exc|command not|No such|Permission"
    rb"|^slurm(?:stepd|d)(?!.*(?:\*\*\*|execve|fail.*launch))|\*\*\* REASON|STEPD TERMINATED"
    rb"|srun: error: (?!.*(?:: task|launch|allocate|create))|Job step aborted"
    rb"|Terminating (?:StepId|job)|First task exited|xit[ _][Ss]tatus"
)
_STOPPED = (
    rb"\*\*\* STEP .*(?:CANCELLED|KILLED)|Force Term|sending Ctrl-C|forcing job"
    rb"|interrupt \(|got signal: (?:1|2|15)\b"
    rb"|Received (?:Signals\.)?(?:SIGTERM|SIGINT|SIGHUP|1|2|15) death signal"
)

FAILURES: tuple[tuple[Status, re.Pattern[bytes], tuple[bytes, ...]], ...] = (
    (Status.OUT_OF_MEMORY, re.compile(
        rb"(?i:out of memory|out_of_me|outofmemory|\boom[-_ ]?kill|memoryerror)|bad_alloc"
        rb"|xceeded (?:job |step |virtual ){0,2}memory limit|TERM_(?:MEMLIMIT|SWAP)"
        rb"|PBS: job killed: (?:p?v?mem|p?v?mem\S*) |\"h_(?:vmem|rss|data)\""
        rb"|an(?:not|'t) allocate memory|nable to allocate [\d.]+ [KMGT]iB|OOM when allocating"),
     (b"slurmstepd: error: Detected 1 oom-kill event(s) in step 41.0",
      (b"slurmstepd-n1: error: Detected 1 oom_kill event in StepId=41.0. Some of the step tasks "
      b"have been OOM Killed."),
      b"srun: error: n1: task 3: Out Of Memory",
      b"slurmstepd: error: Job 41 exceeded memory limit (3940736 > 2068480), being killed",
      b"slurmstepd: Exceeded job memory limit at some point.",
      b"=>> PBS: job killed: vmem 92954931200 exceeded limit 86973087744",
      b"TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.",
      b"RuntimeError: CUDA error: out of memory",
      b"numpy.core._exceptions._ArrayMemoryError: Unable to allocate 6.00 GiB for an array")),
    (Status.TIMEOUT, re.compile(
        rb"DUE TO (?:TIME LIMIT|DEADLINE)|exceeded its time limit|exceeded hard wallclock"
        rb"|^State: TIMEOUT|^\d\S* .*\bTIMEOUT\b"
        rb"|job killed: (?:walltime|cput) |TERM_(?:RUNLIMIT|CPULIMIT|DEADLINE)"
        rb"|\"h_(?:rt|cpu)\"|this job is timed-out|Job has timed out|timeout: sending"),
     (b"slurmstepd: error: *** JOB 41 ON n1 CANCELLED AT 2023-05-01T12:00 DUE TO TIME LIMIT ***",
      (b"[2026-01-25T14:35:32.113] error: *** JOB 41 ON n1 CANCELLED AT 2026-01-25T14:35:32 DUE "
      b"TO TIME LIMIT ***"),
      b"slurmd[n1]: *** STEP 41.0 CANCELLED AT 2012-05-01T12:00 DUE TO TIME LIMIT ***",
      b"salloc: Job 41 has exceeded its time limit and its allocation has been revoked.",
      b"=>> PBS: job killed: walltime 7230 exceeded limit 7200",
      b"TERM_RUNLIMIT: job killed after reaching LSF run time limit.",
      (b"submitit WARNING (2023-05-01 12:00:00,123) - Caught signal SIGUSR2 on n1: this job is "
      b"timed-out."))),
    (Status.PREEMPTED, re.compile(
        rb"DUE TO PREEMPTION|this job is preempted|^State: PREEMPTED|^\d\S* .*\bPREEMPTED\b"
        rb"|TERM_(?:PREEMPT|RC_RECLAIM)"),
     (b"slurmstepd: error: *** JOB 41 ON n1 CANCELLED AT 2023-05-01T12:00 DUE TO PREEMPTION ***",
      b"TERM_PREEMPT: job killed after preemption.")),
    (Status.NODE_FAIL, re.compile(
        rb"DUE TO NODE FAILURE|Node failure on|NODE_FAIL|UNCORRECTABLE MEMORY|still not ready"
        rb"|boot of the nodes|SISTER_EOF|RTE has lost|lost communication with"),
     ((b"slurmstepd: error: *** STEP 41.0 ON n1 CANCELLED AT 2023-03-06T03:17:51 DUE TO NODE "
      b"FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***"),
      b"srun: error: Node failure on n3",
      b"slurmstepd: error: *** JOB 41 ON n1 UNCORRECTABLE MEMORY ERROR AT 2023-05-01T12:00 ***")),
    (Status.CANCELLED, re.compile(
        rb"\*\*\* JOB .*CANCELLED|allocation .*revoked|KeyboardInterrupt|^State: CANCELLED"
        rb"|TERM_(?:OWNER|ADMIN|FORCE_OWNER|FORCE_ADMIN|REQUEUE_OWNER|REQUEUE_ADMIN)"),
     (b"slurmstepd: error: *** JOB 41 ON n1 CANCELLED AT 2023-05-01T12:00 ***",
      (b"[2026-07-16T12:47:03.327] error: *** JOB 41 ON n1 CANCELLED AT 2026-07-16T12:47:03 DUE "
      b"to SIGNAL Terminated ***"),
      b"salloc: Job allocation 41 has been revoked.",
      b"KeyboardInterrupt")),
    (Status.FAILED, re.compile(rb"^(?!.*(?:" + _VAGUE + b"|" + _STOPPED + rb"))"),
     (b"ValueError: bad shape",
      (b"[rank0]:[E1218 20:27:21.426415540 ProcessGroupNCCL.cpp:629] [Rank 0] Watchdog caught "
      b"collective operation timeout: WorkNCCL(SeqNum=1, OpType=BROADCAST)"),
      b"srun: error: n1: task 3: Exited with exit code 1",
      b"srun: error: n1: tasks 0-3: Segmentation fault (core dumped)",
      b"/var/spool/slurmd/job41/slurm_script: line 12: 4242 Illegal instruction     python a.py",
      b"mpirun noticed that process rank 0 with PID 7 on node n1 exited on signal 9 (Killed).",
      b"  traceback : Signal 9 (SIGKILL) received by PID 8158")),
    (Status.CANCELLED, re.compile(_STOPPED),
     (b"slurmstepd: error: *** STEP 41.0 ON n1 CANCELLED AT 2023-05-01T12:00 ***",
      b"slurmd[n1]: *** STEP 41.1 KILLED AT 2014-08-12T12:59:07 WITH SIGNAL 9 ***",
      b"srun: Force Terminated job 41",
      b"torch.distributed.elastic.multiprocessing.api.SignalException: Process 7 got signal: 15")),
    (Status.FAILED, re.compile(b""),
     (b"Traceback (most recent call last):",
      b"srun: error: n1: tasks 0-3: Killed",
      b"srun: Job step aborted: Waiting up to 32 seconds for job step to finish.",
      b"Exited with exit code 140.")),
)  # fmt: skip
"""How a run ended, by what its failure line contains, with examples; the first match counts.

From what tells most to what tells least. A step is cancelled too where one of its tasks failed, so
that says less than the failure of a task; that the job is cancelled says more.
"""

_JOB = re.compile(
    rb"(?:\*\*\* |\b)(?:JOB|STEP) (\d+)|\b(?:StepId|JobId)=(\d+)|^Subject: Job (\d+)"
    rb"|(?:slurmstepd|srun|salloc)\b.*\b(?:[Jj]ob|[Ss]tep)(?: allocation)? (\d+)"
)


@dataclass
class FailureLine:
    """The line that says best how a run ended."""

    status: Status
    line: str
    job_id: str | None
    telling: int
    """Its place in FAILURES: the lower, the more it tells."""
    epoch: int
    """The last epoch before it; below 0: none."""

    @property
    def matters(self) -> bool:
        """Whether it says more than that something went wrong, or is of what took the time."""
        ended = ("command exited", "exit", "subject: ")  # GNU time, LSF, PBS and Grid Engine
        return self.telling < len(FAILURES) - 1 or self.line.lower().startswith(ended)

    def or_better(self, other: "FailureLine | None") -> "FailureLine":
        """``other`` where it says more."""
        if other is None:
            return self
        best = other if other.telling < self.telling else self
        best.job_id = best.job_id or self.job_id or other.job_id
        return best


def judge_failure(line: bytes, before: FailureLine | None, epoch: int = -1) -> FailureLine:
    """``line``, from failure_in and after ``epoch``, or ``before`` where that says more.

    What was printed before a later epoch did not end the run.
    """
    telling = next(i for i, (_, regex, _) in enumerate(FAILURES) if regex.search(line))
    text = clean(line.strip()[:1000].decode("utf-8", "backslashreplace"))[:LONGEST]
    job = _JOB.search(line)
    job_id = job[job.lastindex or 0].decode() if job else None
    new = FailureLine(FAILURES[telling][0], text, job_id, telling, epoch)
    if before is None:
        return new
    if before.epoch < epoch:
        new.job_id = new.job_id or before.job_id
        return new
    return before.or_better(new)

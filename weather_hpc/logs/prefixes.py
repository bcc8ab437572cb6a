"""What launchers, loggers and progress bars put before a line, and the rank that they name."""

_HELD_OUT = rb"(?![ ]*(?:val|valid|validation|test|testing|eval|evaluate|evaluation|dev)\b"
"""No values of what was held out: they would be taken for those of training."""

PREFIXES = (
    # a rank that the program itself names: [GPU1], [rank 1], (cuda:1), <Rank=1>
    ((rb"[\[(<{](?:global[ _]?|local[ _]?)?(?:rank|gpu|cuda|device|worker|process|proc)(?:[ _]id)?"
     rb"[ :=_\#-]{0,2}(?P<tagged>\d{1,9})(?:/\d{1,9})?[\])>}](?!:[ ]?\[):?"), b"[GPU1]"),
    # torchrun, whose roles have any name; PyTorch's own messages; srun -l
    (rb"\[[a-z_]{1,40}(?P<launched>\d{1,9})\]:", b"[default1]:"),
    (rb"(?P<srun>\d{1,6}):(?=[ ])", b"3: "),
    # mpirun --tag-output, SageMaker, PRRTE
    (rb"\[(?:[\w.-]{1,80}@)?\d+,(?:mpirank:)?(?P<mpi>\d{1,9})(?:,[\w.:-]{1,60})?\]<std(?:out|err)>:",
     b"[1,mpirank:0,algo-1]<stdout>:"),
    # MPICH's and Intel's mpirun -prepend-rank
    (rb"\[(?P<bare>\d{1,3})\](?=[ ])", b"[1] "),
    # processes without a number of their own: Ray, kubectl --prefix, docker compose
    (rb"\((?P<ray>(?:[\w.<>]{1,80}[ ])?pid=\d+(?:,[ ]ip=[\d.]+)?)\)",
     b"(TrainWorker pid=42, ip=10.0.0.1)"),
    (rb"\[pod/(?P<pod>[\w.-]{1,80}/[\w.-]{1,80})\]", b"[pod/train-worker-0/pytorch]"),
    (rb"(?P<container>[a-z][\w.-]{0,60}?[-_]\d{1,4}(?:-\w{1,12})?)[ ]+\|(?=[ ])", b"trainer-1  | "),
    # pdsh, clush: the node
    ((rb"(?!(?:rank|gpu|cuda|device|worker|process|proc|epoch|fold|run|step|iter|trial)[ _-]?\d)"
      rb"(?P<host>[a-z][\w.-]{0,60}\d[\w.-]{0,20}|\d{1,3}(?:\.\d{1,3}){3}):(?=[ ])"), b"node07: "),
    # Dask
    (rb"\[[\# ]{1,200}\][ ]\|[ ]+\d+%[ ]completed[ ]\|[ ]*[\d.]+[ ]m?s",
     b"[####  ] |  66% Completed | 4.00 s"),
    # [INFO], [date and time]
    (rb"\[" + _HELD_OUT + rb")[^\]]{1,80}\][ ]?:?", b"[INFO]"),
    # dates: 2023-05-01, 05/15/2023, 5/1/2023, 2024/01/24, 15.05.2023, 09/02
    ((rb"(?:\d{1,4}[-/.]\d\d(?:[-/.]\d{2,4})?|\d{1,2}/\d{1,2}/\d{2,4})[ T,]{1,2}"
     rb"\d{1,2}:\d\d:\d\d(?:[.,]\d+)?(?:Z|[ ]?[+-]\d\d:?\d\d|[ ][ap]m\b|[ ]utc\b)?:?"),
     b"2023-05-01 12:00:00,123"),
    (rb"\d\d:\d\d:\d\d(?:[.,]\d+)?", b"12:00:00"),
    # syslog, journalctl, ctime
    ((rb"(?:(?:mon|tue|wed|thu|fri|sat|sun)[ ])?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
     rb"[ ]+\d{1,2}[ ]\d\d:\d\d:\d\d(?:[ ]\d{4}|[ ][\w.-]{1,60}[ ][\w./-]{1,60}(?:\[\d+\])?:)?"),
     b"May 15 10:01:00 node7 train[4242]:"),
    (rb"(?:trace|debug|info|notice|success|warn|warning|error|critical)\b:?"
     rb"(?:[ ]+" + _HELD_OUT + rb")[a-z_][\w.]{0,60}(?=[ ]-[ ]))?", b"INFO  train -"),
    # a container's stream; the file of a task of Airflow
    (rb"std(?:out|err)[ ][FP](?=[ ])", b"stdout F "),
    (rb"\{[\w.-]{1,60}\.py:\d{1,6}\}", b"{subprocess.py:93}"),
    # glog
    (rb"[iwef]\d{4}[ ]\d\d:\d\d:\d\d\.\d+[ ]+\d+[ ][\w./-]{1,80}:\d+\]",
     b"I0501 12:00:00.123456 4242 train.py:17]"),
    # a logger's name, file, function or line, after or before what marks its end
    (rb"(?<=[-|][ ])(?!\d)" + _HELD_OUT + rb"[ ]+[-|])"
     rb"[\w.<>]{1,60}(?::[\w.<>]{1,60}){0,2}(?=[ ]+[-|])", b"12:00:00 - __main__:main:9 -"),
    ((rb"(?:[\w.]{1,40}:)?[\w./-]{1,80}\.py(?::[\w.<>]{1,60})?(?::\d{1,6}|\(\d{1,6}\))?"
      rb"(?:[ ]?:|(?=[ ]))"), b"train.py:45:"),
    (rb"\([\w./-]{1,80}\.py[ ]\d{1,6}\):", b"(main.py 224): INFO"),
    (rb"[a-z_]\w{0,40}(?:\.\w{1,40}){1,6}(?=[ ]-[ ])", b"speechbrain.utils.train_logger - "),
    (rb"[a-z_][\w.]{0,80}(?=[ ](?:debug|info|warning|error):[ ])", b"d2.engine.hooks INFO: "),
    (rb"(?:(?<=info:)|(?<=debug:)|(?<=warning:)|(?<=error:))[\w.]{1,60}:", b"INFO:root:"),
    # tqdm
    (rb"\d{1,3}%\|[^|]{0,400}\|[^\[]{0,80}\[[^\]]{0,80}\]", b" 34%|###4   | 17/50 [00:03<00:07]"),
    (rb"(?:[-|]|>>)(?=[ ])", b"- "),
)  # fmt: skip
"""What may stand before a line (verbose syntax, case ignored), each with an example."""

RANK_GROUPS = ("tagged", "launched", "mpi", "srun", "bare", "ray", "pod", "container", "host")
"""The groups of PREFIXES that name the rank, or its process, the one to believe first."""

# Tried as a whole or not at all: backtracking into it would cost more than all else.
PREFIX = (
    rb"(?x:(?:(?=[ \t\[({<\d|a-z-])(?>(?:[ \t]*(?:"
    + b"|".join(prefix for prefix, _ in PREFIXES)
    + rb")){1,8}[ \t]*|[ \t]+))?)"
)
"""Any number of them, in verbose syntax."""

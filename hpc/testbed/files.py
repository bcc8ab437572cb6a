"""Files of the daemons: their configuration, MariaDB's system tables, their logs."""

import os
import shutil
import subprocess
from pathlib import Path
from string import Template

from daemons import Daemons, slurmd_of
from machine import HERE, TestbedError, own_address, write

SQL_FOLDERS = (Path("/usr/share/mysql"), Path("/usr/share/mariadb"))
MEMORY_PER_CPU = 2000  # MB that nodes have, and a job's default


def write_files(testbed: Daemons) -> None:
    """Write every file that the daemons read."""
    settings, state = testbed.settings, testbed.state
    for name in ("run", "log", "tmp", "spool/slurmctld", "gpu"):
        (state / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    for node in settings.node_names():
        (state / "spool" / node).mkdir(exist_ok=True, mode=0o755)
    for number in range(settings.gpus):
        link = state / "gpu" / f"gpu{number}"
        if not link.is_symlink():
            link.symlink_to("/dev/null")
    key = state / "munge.key"
    if not key.exists() or key.stat().st_size < 32:
        write(key, os.urandom(128).hex())
    if settings.accounting:
        accounting = [
            "AccountingStorageType=accounting_storage/slurmdbd",
            f"AccountingStorageHost={settings.address}",
            f"AccountingStoragePort={settings.ports['slurmdbd']}",
            f"AccountingStoragePass={state}/run/munge.socket",
            "AccountingStorageTRES=gres/gpu",
            "AccountingStoreFlags=job_comment",
        ]
    else:
        accounting = ["AccountingStorageType=accounting_storage/none"]
    nodes = [
        f"NodeName={node} NodeHostname={settings.host} NodeAddr={settings.address}"
        f" Port={settings.ports[slurmd_of(node)]}"
        for node in settings.node_names()
    ]
    gpus = ""
    if settings.gpus:
        which = f"[0-{settings.gpus - 1}]" if settings.gpus > 1 else "0"
        gpus = f"Name=gpu Flags=nvidia_gpu_env File={state}/gpu/gpu{which}"
    common: dict[str, object] = {
        "state": state,
        "user": testbed.user,
        "host": settings.host,
        "address": settings.address,
        # bind to the address of the host's name only where that is loopback
        "communication": "NoInAddrAny,NoCtldInAddrAny"
        if own_address() == settings.address
        else "EnableIPv4",
    }
    texts: dict[str, dict[str, object]] = {
        "slurm.conf": {
            "controller_port": settings.ports["slurmctld"],
            "cred_expire": 5,
            "cpus": settings.cpus,
            "gpus": settings.gpus,
            "memory": settings.cpus * MEMORY_PER_CPU,
            "memory_per_cpu": MEMORY_PER_CPU,
            "max_array_size": settings.max_array_size,
            "accounting": "\n".join(accounting),
            "nodes": "\n".join(nodes),
        },
        "gres.conf": {"gpus": gpus},
    }
    if settings.accounting:
        texts["slurmdbd.conf"] = {"accounting_port": settings.ports["slurmdbd"]}
        texts["mariadb.cnf"] = {}
    for name, values in texts.items():
        template = Template((HERE / "templates" / name).read_text())
        write(state / name, template.substitute(common | values))


def make_database(testbed: Daemons) -> None:
    """Create MariaDB's system tables, all or none."""
    data, incomplete = testbed.state / "mariadb", testbed.state / "mariadb.half"
    if data.exists():
        return
    shutil.rmtree(incomplete, ignore_errors=True)
    incomplete.mkdir(mode=0o700)
    folder = next((f for f in SQL_FOLDERS if (f / "mysql_system_tables.sql").exists()), None)
    if folder is None:
        raise TestbedError(
            f"mysql_system_tables.sql is in none of {', '.join(map(str, SQL_FOLDERS))}"
        )
    names = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
    script = "\n".join(
        [
            "create database if not exists mysql;",
            "use mysql;",
            f"set @auth_root_socket='{testbed.user}';",  # that account, without a password
            *((folder / name).read_text() for name in names),
        ]
    )
    command = testbed.command_of("mariadbd")
    with testbed.output_of("mariadbd").open("wb") as output:
        done = subprocess.run(
            [*command, f"--datadir={incomplete}", "--bootstrap", "--log-warnings=0"],
            input=script.encode(),
            env=testbed.daemon_env,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        raise failure(testbed, "MariaDB could not create its tables", "mariadbd")
    incomplete.rename(data)


def failure(testbed: Daemons, what: str, daemon: str) -> TestbedError:
    """Return the error that names a daemon's log and shows its last lines."""
    log = max(
        (path for path in (testbed.output_of(daemon), testbed.log_of(daemon)) if path.exists()),
        key=lambda path: (path.stat().st_size > 0, path.stat().st_mtime),
        default=testbed.log_of(daemon),
    )
    lines = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
    if testbed.complaint:
        what = f"{what} ({testbed.complaint})"
    return TestbedError("\n    ".join([f"{what}; last lines of {log}:", *lines]))

"""Finding: one line of audit.csv, something that looks wrong, with the evidence."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """``error``: a figure is wrong. ``warning``: it may be. ``info``: know it when comparing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Code(StrEnum):
    """What can be found."""

    RANK_COUNT_MISMATCH = "rank_count_mismatch"
    DUPLICATE_CONTENT = "duplicate_content"
    INCOMPLETE_EPOCHS = "incomplete_epochs"
    MISSING_TOTAL = "missing_total"
    NAN_LOSS = "nan_loss"
    SUPERLINEAR = "superlinear"
    FOREIGN_LOAD = "foreign_load"
    AFFINITY_MISMATCH = "affinity_mismatch"
    HARDWARE_MISMATCH = "hardware_mismatch"
    BATCH_SEMANTICS = "batch_semantics"
    RESTARTED = "restarted"
    REFERENCE_MISMATCH = "reference_mismatch"
    CHECK_FAILED = "check_failed"
    CHECK_UNREADABLE = "check_unreadable"
    WRONG_BINDING = "wrong_binding"
    SLOW_NETWORK = "slow_network"
    EXCHANGE_TIME = "exchange_time"


@dataclass(frozen=True)
class Finding:
    """``source`` is a run_id, or the name of a table or a check; ``message`` the evidence in one
    line."""

    source: str
    severity: Severity
    code: Code
    message: str

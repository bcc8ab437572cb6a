"""The report of a study whose runs are still being made: it says so, and loads itself again."""

import html
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weather_hpc.files import write_text
from weather_hpc.reading import LARGEST_FILE, read_text

RELOAD_S = 20
"""How often an open page is loaded again, s."""

_LIVE = re.compile(r'<p id="live"[^>]*>[^<]*</p>')


@dataclass(frozen=True)
class Live:
    """What a page says of the runs that are still to end."""

    progress: str
    """How many have ended, in words."""
    written_at: float
    """UNIX time, s."""
    until: float
    """When a page that was not written again is no longer live: its sweep has ended. UNIX time."""
    reload_s: float = RELOAD_S

    @property
    def text(self) -> str:
        """The line at the top of the page."""
        return (
            f"Live: {self.progress}. Written {_moment(self.written_at)}; this page loads itself "
            f"again every {self.reload_s:g} s until all runs have ended."
        )

    @property
    def stale(self) -> str:
        """What replaces it later than ``until``."""
        return (
            f"Not updated since {_moment(self.written_at)}, when it said: {self.progress}. The "
            "sweep has probably been killed; `sweep status` tells. The page is not loaded again."
        )


def stop(page: Path, why: str) -> None:
    """Let the page load itself no more, and say why; nothing where it is no live page."""
    try:
        text = read_text(page, LARGEST_FILE)
    except ValueError:
        return
    said = f"Not complete, and not updated since {_moment(time.time())}: {why}."
    line = f'<p id="live" role="status">{html.escape(said)}</p>'
    changed = _LIVE.sub(lambda _: line, text, count=1)
    if changed != text:
        write_text(page, changed)


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"

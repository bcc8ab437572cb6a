"""Completion scripts, in the shells that read them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from weather_hpc.completion import SHELLS, script

TYPED = {
    "sw": ["sweep"],
    "sweep st": ["status"],
    "sweep --parti": ["--partition"],
    "sweep --executor sub": ["submitit"],
    "sweep --study qui": ["quick"],
    "data sy": ["synth"],
    "data synth --see": ["--seed"],
    "train --strategy d": ["dp", "ddp"],
    "completion z": ["zsh"],
    "predict --checkpoint net": ["net.pt"],
}
COMPLETE = """
source "$1"
mapfile -t of < <(complete -p weather-hpc)
function=${of[0]##*-F }
function=${function%% *}
while read -r line; do
  COMP_WORDS=(weather-hpc $line)
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
  $function weather-hpc "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
  echo "${COMPREPLY[*]}"
done
"""


def test_bash_completes_verbs_actions_options_choices_and_files(tmp_path: Path) -> None:
    (tmp_path / "net.pt").touch()
    (tmp_path / "script").write_text(script("bash"))
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", "./script"], cwd=tmp_path, text=True, capture_output=True,
        input="\n".join([*TYPED, ""]), check=True,
    )  # fmt: skip
    found = dict(zip(TYPED, (line.split() for line in done.stdout.splitlines()), strict=True))
    assert found == TYPED


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_valid_where_their_shell_is_installed(shell: str, tmp_path: Path) -> None:
    text = script(shell)
    for word in ("sweep", "partition", "submitit", "quick", "laptop"):
        assert word in text
    if shutil.which(shell):
        (tmp_path / "script").write_text(text)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)

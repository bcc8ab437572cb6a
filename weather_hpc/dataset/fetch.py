"""An archive of class folders, local or from the web -> an image folder, checked and unpacked."""

import hashlib
import shutil
import stat
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath

from weather_hpc import cli
from weather_hpc.dataset.space import check_space
from weather_hpc.errors import FailedError, UserError

BLOCK = 1 << 20
TIMEOUT_S = 60.0


def fetch(source: str, out: Path, sha256: str | None = None) -> None:
    """Unpack the zip or tar archive ``source``, a file or an http(s) or file URL, into ``out``.

    A download goes to ``<out>.download`` and resumes where it was cut off; ``sha256`` is compared
    before anything is unpacked. Folders around the class folders are left out. ``out`` appears
    whole or not at all. Raises UserError where ``out`` exists, the archive is neither zip nor tar
    or would write outside ``out``, and FailedError where the download fails or its checksum
    differs.
    """
    if out.exists():
        raise UserError(f"{out}: already exists; choose a new folder")
    local = _local_file(source)
    archive = local or out.with_name(out.name + ".download")
    if local is None:
        archive.parent.mkdir(parents=True, exist_ok=True)
        _download(source, archive)
    if sha256 is not None:
        _check(archive, sha256.lower(), downloaded=local is None)
    unpacked = out.with_name(out.name + ".unpacking")
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        _unpack(archive, unpacked)
        _innermost(unpacked).rename(out)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    if local is None:
        archive.unlink()


def _local_file(source: str) -> Path | None:
    """The file that ``source`` names; None where it is to be downloaded."""
    url = urllib.parse.urlsplit(source)
    if url.scheme in ("http", "https"):
        return None
    path = Path(urllib.request.url2pathname(url.path)) if url.scheme == "file" else Path(source)
    if not path.is_file():
        raise UserError(f"{source}: no such file; expected a zip or tar archive, or its URL")
    return path


def _download(url: str, target: Path) -> None:
    """Download ``url`` to ``target``, after the bytes that are already there."""
    start = target.stat().st_size if target.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    received = 0
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            resumed = answer.status == 206
            length = answer.headers.get("Content-Length")
            with (
                _writing(target),
                target.open("ab" if resumed else "wb") as file,
                cli.progress(f"downloading {target.stem}", total=int(length or 0)) as advance,
            ):
                while block := _read(answer, url):
                    file.write(block)
                    received += len(block)
                    advance(len(block))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing follows what is there: it was complete
            return
        raise FailedError(f"{url}: the server answers {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise _cut_off(url, error) from None
    if length is not None and received < int(length):
        raise FailedError(
            f"{url}: cut off after {received} of {length} bytes; "
            "run the same command again to resume"
        )


def _read(answer: HTTPResponse, url: str) -> bytes:
    try:
        return answer.read(BLOCK)
    except (OSError, HTTPException) as error:
        raise _cut_off(url, error) from None


def _cut_off(url: str, error: Exception) -> FailedError:
    return FailedError(f"{url}: {error}; run the same command again to resume")


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn an OSError in the block into a FailedError about ``target``."""
    try:
        yield
    except OSError as error:
        why = f"cannot be written: {error.strerror}"
        raise FailedError(f"{target}: {why}; run the same command again to resume") from None


def _check(archive: Path, expected: str, *, downloaded: bool) -> None:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        if downloaded:
            archive.unlink()  # or the next try would resume after damaged bytes
        raise FailedError(f"{archive}: sha256 is {digest}, not {expected}; nothing was unpacked")


def _unpack(archive: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                members = tar.getmembers()
                _check_unpacked(archive, folder, sum(member.size for member in members))
                tar.extractall(folder, filter="data")
        else:
            raise UserError(f"{archive}: is neither a zip nor a tar archive")
    except tarfile.FilterError as error:
        raise UserError(f"{archive}: refused: unsafe entry: {error}") from None
    except OSError as error:
        where = error.filename or folder
        why = error.strerror or error
        raise FailedError(f"{archive}: cannot be unpacked: {where}: {why}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise FailedError(f"{archive}: cannot be unpacked: {error}") from None


def _unpack_zip(archive: Path, folder: Path) -> None:
    """Unlike tarfile, zipfile silently changes unsafe names; here they are refused."""
    with zipfile.ZipFile(archive) as file:
        entries = file.infolist()
        for entry in entries:
            path = PurePosixPath(entry.filename.replace("\\", "/"))
            is_link = stat.S_ISLNK(entry.external_attr >> 16)
            if path.is_absolute() or ".." in path.parts or is_link:
                raise UserError(f"{archive}: refused: unsafe entry: {entry.filename!r}")
        _check_unpacked(archive, folder, sum(entry.file_size for entry in entries))
        with cli.progress("unpacking", total=len(entries)) as advance:
            for entry in entries:
                file.extract(entry, folder)
                advance()


def _check_unpacked(archive: Path, folder: Path, size: int) -> None:
    check_space(folder, size, f"make room to unpack {archive}")


def _innermost(folder: Path) -> Path:
    """The folder of the class folders: not one that holds a single folder of folders."""
    entries = [entry for entry in folder.iterdir() if not _is_litter(entry)]
    if len(entries) != 1 or not entries[0].is_dir():
        return folder
    only = entries[0]
    return _innermost(only) if any(inner.is_dir() for inner in only.iterdir()) else folder


def _is_litter(entry: Path) -> bool:
    return entry.name.startswith(".") or entry.name == "__MACOSX"

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.dataset.nasty import plain_folder
from weather_hpc.dataset.catalogue import scan
from weather_hpc.dataset.fetch import fetch
from weather_hpc.errors import FailedError, UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return plain_folder(tmp_path / "source" / "dataset", per_class=2)


@pytest.fixture(params=["zip", "tar", "tar.gz"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, folder: Path) -> Path:
    path = tmp_path / f"weather.{request.param}"
    if request.param == "zip":
        pack_zip(path, folder)
    else:
        with tarfile.open(path, "w:gz" if request.param == "tar.gz" else "w") as tar:
            tar.add(folder, arcname="dataset")
    return path


def pack_zip(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for image in sorted(folder.rglob("*.jpg")):
            file.write(image, Path("dataset") / image.relative_to(folder))
        file.writestr("__MACOSX/._dataset", b"litter")
    return path


class Handler(BaseHTTPRequestHandler):
    """Serves one file, by ranges too; cuts the first answer off at ``cut_at`` bytes."""

    content = b""
    cut_at: int | None = None
    ranges: list[str | None]

    def do_GET(self) -> None:
        if self.path != "/weather.zip":
            self.send_error(404)
            return
        ranged = self.headers.get("Range")
        self.ranges.append(ranged)
        first = int(ranged.removeprefix("bytes=").rstrip("-")) if ranged else 0
        if first >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(self.content) - first))
        self.end_headers()
        body = self.content[first:]
        if self.cut_at is not None:
            body = body[: self.cut_at]
            type(self).cut_at = None
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, folder: Path) -> Iterator[tuple[str, type[Handler]]]:
    class Mine(Handler):
        content = pack_zip(tmp_path / "served.zip", folder).read_bytes()
        ranges: list[str | None] = []  # noqa: RUF012

    with ThreadingHTTPServer(("127.0.0.1", 0), Mine) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/weather.zip", Mine
        http.shutdown()
        thread.join()


def test_a_local_archive_becomes_class_folders(tmp_path: Path, folder: Path, archive: Path) -> None:
    for number, source in enumerate((str(archive), archive.as_uri())):
        out = tmp_path / f"out{number}"
        fetch(source, out)
        assert scan(out).fingerprint == scan(folder).fingerprint
    assert archive.exists()
    assert not list(tmp_path.glob("*.unpacking"))


def test_a_checksum_is_compared_before_unpacking(tmp_path: Path, archive: Path) -> None:
    right = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(FailedError, match=f"is {right}, not {'0' * 64}"):
        fetch(str(archive), tmp_path / "out", "0" * 64)
    assert not (tmp_path / "out").exists()
    assert archive.exists()
    fetch(str(archive), tmp_path / "out", right.upper())
    assert len(scan(tmp_path / "out").items) == 6


def test_a_download_that_was_cut_off_is_resumed(
    tmp_path: Path, folder: Path, server: tuple[str, type[Handler]]
) -> None:
    url, handler = server
    handler.cut_at = 1000
    with pytest.raises(FailedError, match="run the same command again"):
        fetch(url, tmp_path / "out")
    assert (tmp_path / "out.download").stat().st_size == 1000
    fetch(url, tmp_path / "out", hashlib.sha256(handler.content).hexdigest())
    assert handler.ranges == [None, "bytes=1000-"]
    assert scan(tmp_path / "out").fingerprint == scan(folder).fingerprint
    assert not (tmp_path / "out.download").exists()


def test_a_complete_download_is_not_repeated(
    tmp_path: Path, server: tuple[str, type[Handler]]
) -> None:
    url, handler = server
    (tmp_path / "out.download").write_bytes(handler.content)
    fetch(url, tmp_path / "out")
    assert len(scan(tmp_path / "out").items) == 6


def test_a_damaged_download_is_removed(tmp_path: Path, server: tuple[str, type[Handler]]) -> None:
    url, _ = server
    with pytest.raises(FailedError, match="nothing was unpacked"):
        fetch(url, tmp_path / "out", "0" * 64)
    assert not (tmp_path / "out.download").exists()
    with pytest.raises(FailedError, match="404"):
        fetch(url.replace("weather", "absent"), tmp_path / "out")


@pytest.mark.parametrize("name", ["../outside.jpg", "/outside.jpg", "a/../../outside.jpg"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr(name, b"x")
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        entry = tarfile.TarInfo("../" + name.lstrip("/"))
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    for archive in ("bad.zip", "bad.tar"):
        with pytest.raises(UserError, match="unsafe entry"):
            fetch(str(tmp_path / archive), tmp_path / "in" / "out")
        assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["bad.tar", "bad.zip"]


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("a/link.jpg")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr(entry, "/etc/passwd")
    with pytest.raises(UserError, match="unsafe entry"):
        fetch(str(tmp_path / "bad.zip"), tmp_path / "out")


def test_a_broken_archive_leaves_nothing(tmp_path: Path, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises((UserError, FailedError), match=archive.name):
        fetch(str(archive), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.unpacking"))


def test_bad_input_is_one_clear_line(tmp_path: Path, archive: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        fetch(str(tmp_path / "none.zip"), tmp_path / "out")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(UserError, match="neither a zip nor a tar"):
        fetch(str(tmp_path / "text.zip"), tmp_path / "out")
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="already exists"):
        fetch(str(archive), tmp_path / "taken")

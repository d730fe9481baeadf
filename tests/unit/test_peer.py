"""What hosts say to each other: bounds, signatures, paths; and bundles that are whole or are nothing."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegcore.errors import ConfigError, DecodeError, RefusedError, UnavailableError
from tegcore.wire import peer
from tegcore.wire.control import WorkloadSpec
from tegcore.wire.peer import Answer, Brief, Bundle, Chunk, File, Listing, Read, ReadLog, Report, Sealer, Source
from tegcore.wire.signing import Key, peer_key, sealed
from tegctl import authority
from tegd.adapters import bundles
from tegd.adapters.bundles import BundleError, Gathering
from tegd.adapters.peers import PeerLink, PeerServer
from tegio.tls import Certificates, certificates

HOST_KEY, OTHER_KEY = Key(b"h" * 32), Key(b"o" * 32)
KEY = peer_key(HOST_KEY, "a")
BRIEF = Brief(1, 2, 3, 0, ["b"], 1, "w", "ada", "root", 5, "t", WorkloadSpec(argv=("x",)))


def pair(key: Key = KEY, nonces: bytes = b"n" * 32) -> tuple[Sealer, Sealer]:
    return Sealer(key, nonces, 0), Sealer(key, nonces, 0)


def opened(sealer: Sealer, frame: bytes):
    length, signature = peer.read_head(frame[: peer.HEAD_BYTES])
    payload = frame[peer.HEAD_BYTES :]
    assert len(payload) == length
    return sealer.open(signature, payload)


def test_what_is_said_is_heard() -> None:
    mouth, ear = pair()
    for said in (BRIEF, Answer(ok=True), Listing([File("a/b", 3, b"d" * 32, True)])):
        assert opened(ear, mouth.seal(said)) == said


@given(st.integers(0, 5), st.integers(0, 200), st.integers(1, 255))
def test_a_frame_that_was_changed_is_not_taken(number: int, place: int, flip: int) -> None:
    mouth, ear = pair()
    frame = bytearray(mouth.seal(BRIEF))
    place = 4 + place % (len(frame) - 4)
    frame[place] ^= flip
    with pytest.raises(DecodeError):
        opened(ear, bytes(frame))


def test_a_frame_means_nothing_again_elsewhere_or_the_other_way() -> None:
    mouth, ear = pair()
    first = mouth.seal(BRIEF)
    opened(ear, first)
    for other in (ear, pair(nonces=b"m" * 32)[1], Sealer(KEY, b"n" * 32, 1), pair(peer_key(HOST_KEY, "c"))[1]):
        with pytest.raises(DecodeError):
            opened(other, first)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a\0b", ".", "x" * 300])
def test_no_path_leads_out_of_its_folder(path: str) -> None:
    assert not peer.is_path(path)
    bundle = Bundle("a", 1, "t")
    for said in (Read(bundle, path, 0), Listing([File(path, 1, b"d" * 32)])):
        with pytest.raises(DecodeError):
            peer.check(said)


@pytest.mark.parametrize(
    "said",
    [
        Listing([File("a", -1, b"d" * 32)]),
        Listing([File("a", 1, b"d")]),
        Listing([File(f"f{number}", 1, b"d" * 32) for number in range(peer.FILES_MAX + 1)]),
        Read(Bundle("a", 1, "t"), "a", -1),
        Chunk(b"data", b"0" * 16),
        Brief(1, 2, 3, 1, ["b"], 1, "w", "ada", "root", 5, "t", WorkloadSpec(argv=("x",))),
        Brief(1, 2, 3, 0, ["B!"], 1, "w", "ada", "root", 5, "t", WorkloadSpec(argv=("x",))),
        Brief(1, 2, 3, 0, ["b"], 0, "w", "ada", "root", 5, "t", WorkloadSpec(argv=("x",))),
        Brief(1, 2, 3, 0, ["b"], 1, "w", "ada", "root", 5, "t", WorkloadSpec(argv=("x",)), ["../x"]),
        msgspec.structs.replace(BRIEF, sources=[Source(1, 1, 0, "b")] * (peer.SEATS_MAX + 1)),
        Report(1, 2, 3, -1, 0, over=True, ran=True, done=True),
        Report(1, 2, 3, 0, -1, over=True, ran=True, done=True),
        Report(1, 2, 3, 0, 0, over=True, ran=True, done=True, problem="x" * (peer.PROBLEM_MAX + 1)),
        ReadLog(1, 2, -1),
    ],
)
def test_what_is_out_of_bounds_is_refused(said) -> None:
    with pytest.raises(DecodeError):
        peer.check(said)


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    head = (peer.PAYLOAD_BYTES_MAX + 1).to_bytes(4, "little") + b"s" * 16
    with pytest.raises(DecodeError):
        peer.read_head(head)


@given(st.binary(max_size=peer.PREAMBLE_BYTES))
def test_a_preamble_of_anything_is_read_or_refused(raw: bytes) -> None:
    head = raw.ljust(peer.PREAMBLE_BYTES, b"\0")
    with pytest.raises(DecodeError):
        peer.read_preamble(head)


def test_the_key_to_another_is_opened_by_its_asker_alone() -> None:
    told = sealed(KEY, OTHER_KEY, "h")
    assert sealed(Key(told), OTHER_KEY, "h") == KEY
    assert sealed(Key(told), HOST_KEY, "h") != KEY


# --- over TCP -------------------------------------------------------------------------------------------------------


def made_certificates(folder: Path, *names: str) -> dict[str, Certificates]:
    authority.init(folder, "z")
    found = {name: authority.issue(folder, name) for name in names}
    return {name: Certificates(folder / "ca.pem", *files) for name, files in found.items()}


async def asked(server: PeerServer, link: PeerLink) -> Answer:
    async with link:
        return await link.ask(BRIEF)  # type: ignore[return-value]


async def heard(sender: str, said) -> Answer:
    return Answer(ok=True, message=f"{sender} {type(said).__name__}")


@pytest.mark.parametrize("tls", [False, True])
async def test_a_host_is_heard_under_its_own_name_only(tmp_path: Path, tls: bool) -> None:
    files = made_certificates(tmp_path / "certs", "a", "b", "c") if tls else {}
    server = PeerServer("b", HOST_KEY, heard, files.get("b"))
    port = await server.start("127.0.0.1", 0)
    address = f"127.0.0.1:{port}"
    try:
        assert (await asked(server, PeerLink("a", "b", address, KEY, files.get("a")))).message == "a Brief"
        wrong = PeerLink("a", "b", address, KEY if tls else peer_key(HOST_KEY, "c"), files.get("c"))
        with pytest.raises(UnavailableError):
            await asked(server, wrong)
        assert server.refused == 1
        assert (await asked(server, PeerLink("a", "b", address, KEY, files.get("a")))).ok
        if tls:
            with pytest.raises(UnavailableError):
                await asked(server, PeerLink("a", "b", address, KEY, None))
            with pytest.raises(UnavailableError):
                await asked(server, PeerLink("a", "c", address, KEY, files["a"]))
            strangers = made_certificates(tmp_path / "strangers", "a")
            with pytest.raises(UnavailableError):
                await asked(server, PeerLink("a", "b", address, KEY, strangers["a"]))
    finally:
        await server.stop()


async def test_a_refusal_is_an_answer_and_garbage_ends_the_conversation(tmp_path: Path) -> None:
    async def refuses(sender: str, said) -> Answer:
        raise RefusedError("not now")

    server = PeerServer("b", HOST_KEY, refuses, None)
    port = await server.start("127.0.0.1", 0)
    try:
        answer = await asked(server, PeerLink("a", "b", f"127.0.0.1:{port}", KEY, None))
        assert (answer.ok, answer.message) == (False, "not now")
        for garbage in (b"GET / HTTP/1.1\r\n\r\n" + b"x" * 64, os.urandom(200)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(garbage)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        assert server.refused == 2
    finally:
        await server.stop()


async def test_a_disk_that_fails_is_an_answer(tmp_path: Path) -> None:
    async def fails(sender: str, said) -> Answer:
        raise OSError(28, "No space left on device")

    server = PeerServer("b", HOST_KEY, fails, None)
    port = await server.start("127.0.0.1", 0)
    try:
        answer = await asked(server, PeerLink("a", "b", f"127.0.0.1:{port}", KEY, None))
        assert not answer.ok
        assert "No space" in answer.message
    finally:
        await server.stop()


async def test_a_port_that_there_cannot_be_is_said_so() -> None:
    with pytest.raises(UnavailableError, match="99999"):
        await PeerServer("b", HOST_KEY, heard, None).start("127.0.0.1", 99999)


async def test_nobody_there_is_said_so() -> None:
    with pytest.raises(UnavailableError, match=r"b at 127\.0\.0\.1:1"):
        async with PeerLink("a", "b", "127.0.0.1:1", KEY, None):
            pass


# --- certificates ---------------------------------------------------------------------------------------------------


async def test_certificates_of_two_authorities_work_together_while_one_is_rotated(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    files = made_certificates(folder, "a", "b")

    async def speak() -> bool:
        server = PeerServer("b", HOST_KEY, heard, files["b"])
        port = await server.start("127.0.0.1", 0)
        try:
            return (await asked(server, PeerLink("a", "b", f"127.0.0.1:{port}", KEY, files["a"]))).ok
        finally:
            await server.stop()

    assert await speak()
    with pytest.raises(RefusedError):
        authority.rotate(folder, finish=True)
    authority.rotate(folder)
    with pytest.raises(RefusedError):
        authority.rotate(folder)
    assert await speak()
    assert [row["current"] for row in authority.rows(folder)] == [False, False, True]
    authority.issue(folder, "a")
    assert await speak()
    authority.rotate(folder, finish=True)
    with pytest.raises(UnavailableError):
        await speak()
    authority.issue(folder, "b")
    assert await speak()


def test_an_authority_is_made_once_and_its_key_is_closed(tmp_path: Path) -> None:
    authority.init(tmp_path / "certs", "z")
    assert (tmp_path / "certs" / "ca.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(RefusedError):
        authority.init(tmp_path / "certs", "z")
    with pytest.raises(ConfigError):
        authority.issue(tmp_path / "nowhere", "a")
    with pytest.raises(DecodeError):
        authority.issue(tmp_path / "certs", "../a")
    with pytest.raises(ConfigError):
        certificates("ca.pem", "", "")


# --- bundles --------------------------------------------------------------------------------------------------------


def checkpoint(folder: Path, data: bytes = b"state" * 100_000) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint"
    path.write_bytes(data)
    return path


def carried(shelf: Path, place: Path, stop_after: int = 1 << 30) -> bool:
    """Gather what a shelf holds; True when it is whole."""
    bundle = Bundle("a", 1, "t", 7, 1, 0)
    root, files = bundles.whole(shelf, bundle)
    gathering = Gathering(place, files)
    count = 0
    while (missing := gathering.missing()) is not None:
        if count >= stop_after:
            return False
        file, offset = missing
        gathering.put(file, offset, bundles.chunk(root, file.path, offset).data)
        count += 1
    gathering.finish()
    return gathering.complete


def test_a_transfer_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "work", os.urandom(1_000_000))
    shelf = tmp_path / "shelf"
    bundles.keep(bundles.kept_folder(shelf, 7, 1, 0), source, os.getuid())
    place = tmp_path / "there" / "7.1.0"
    assert not carried(shelf, place, stop_after=2)
    assert not place.exists()
    assert carried(shelf, place)
    assert (place / "files" / "checkpoint").read_bytes() == source.read_bytes()


def test_what_is_not_what_its_digest_says_is_thrown_away(tmp_path: Path) -> None:
    shelf, place = tmp_path / "shelf", tmp_path / "there" / "7.1.0"
    kept = bundles.kept_folder(shelf, 7, 1, 0)
    bundles.keep(kept, checkpoint(tmp_path / "work"), os.getuid())
    stored = kept / "files" / "checkpoint"
    with stored.open("r+b") as file:
        file.seek(1000)
        file.write(b"X")
    with pytest.raises(BundleError, match="not what it was said to be"):
        carried(shelf, place)
    assert not place.exists()
    with stored.open("r+b") as file:
        file.seek(1000)
        file.write(b"state"[:1])
    assert carried(shelf, place)


def test_a_folder_without_its_listing_is_no_checkpoint(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    kept = bundles.kept_folder(shelf, 7, 1, 0)
    bundles.keep(kept, checkpoint(tmp_path / "work"), os.getuid())
    (kept / bundles.LISTING).unlink()
    with pytest.raises(BundleError):
        bundles.whole(shelf, Bundle("a", 1, "t", 7, 1, 0))
    bundles.keep(kept, checkpoint(tmp_path / "work"), os.getuid())
    assert bundles.whole(shelf, Bundle("a", 1, "t", 7, 1, 0))[1]


def test_what_was_kept_stays_as_it_was_when_the_program_saves_anew(tmp_path: Path) -> None:
    shelf, source = tmp_path / "shelf", checkpoint(tmp_path / "work", b"one")
    kept = bundles.kept_folder(shelf, 7, 1, 0)
    bundles.keep(kept, source, os.getuid())
    fresh = source.with_suffix(".fresh")
    fresh.write_bytes(b"two")
    fresh.replace(source)
    assert (kept / "files" / "checkpoint").read_bytes() == b"one"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
def test_what_belongs_to_another_is_not_kept_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    secret = tmp_path / "secret"
    secret.write_text("root's own")
    link = tmp_path / "work" / "checkpoint"
    kept = bundles.kept_folder(tmp_path / "shelf", 7, 1, 0)
    link.symlink_to(secret)
    with pytest.raises(BundleError):
        bundles.keep(kept, link, 1000)
    link.unlink()
    os.link(secret, link)
    with pytest.raises(BundleError):
        bundles.keep(kept, link, 1000)
    assert not kept.exists()


def test_older_checkpoints_give_way(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "work")
    for token, number, rank in ((7, 1, 0), (7, 2, 0), (8, 1, 0), (7, 1, 1)):
        bundles.keep(bundles.kept_folder(tmp_path / "shelf", token, number, rank), source, os.getuid())
    read = bundles.kept_folder(tmp_path / "shelf", 7, 2, 0)
    bundles.prune(tmp_path / "shelf", (8, 1), {(7, 1)}, {read})
    assert sorted(path.name for path in (tmp_path / "shelf").iterdir()) == ["7.1.0", "7.1.1", "7.2.0", "8.1.0"]
    bundles.prune(tmp_path / "shelf", (8, 1), {(7, 1)})
    assert sorted(path.name for path in (tmp_path / "shelf").iterdir()) == ["7.1.0", "7.1.1", "8.1.0"]
    bundles.prune(tmp_path / "shelf", (8, 1), ())
    assert sorted(path.name for path in (tmp_path / "shelf").iterdir()) == ["8.1.0"]

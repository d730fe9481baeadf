"""The zone's certificate authority: a folder with its key, and a certificate for each program that speaks.

    ca.pem       who signs; while the authority is rotated, the new one and then the old one
    ca.key       its key: nothing but `tegctl certs` needs it, and it need be on no host
    NAME.pem     of a host, or of `ledger`, `governor`, `broker`
    NAME.key

Keys are on the curve P-256. A certificate names its owner in the subject, which the broker takes as the user's name and
hosts compare with whom they mean to speak to; addresses stand beside it for the broker's clients.
"""

import datetime
import ipaddress
import os
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tegcore.errors import ConfigError, RefusedError
from tegcore.ids import checked_name

CA_DAYS = 3650
DAYS = 397
_SKEW = datetime.timedelta(hours=25)
"""A host whose clock is a day behind takes a fresh certificate too."""


def init(folder: Path, zone: str) -> None:
    """Make an authority.

    Raises:
        RefusedError: If there is one already.
        DecodeError: If the zone's name is none.
    """
    checked_name(zone, "zone")
    if (folder / "ca.key").exists():
        raise RefusedError(
            f"there is a certificate authority in {folder} already: nothing was changed",
            "use it as it is; to replace it: `tegctl certs rotate`",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_ca(folder, zone, [])


def rotate(folder: Path, *, finish: bool = False) -> None:
    """Begin to replace the authority: what the old one signed is taken until the rotation is finished.

    Args:
        folder: Of the authority.
        finish: Trust the new one alone from now on.

    Raises:
        RefusedError: If a rotation is under way, or none is to be finished.
    """
    known = _authorities(folder)
    if finish:
        if len(known) < 2:
            raise RefusedError(
                "no replacement of the authority is under way: there is nothing to finish",
                "`tegctl certs rotate` begins one",
            )
        _write(folder / "ca.pem", _pem(known[0]), 0o644)
        return
    if len(known) > 1:
        raise RefusedError(
            "the authority is being replaced already: a rotation was begun and not finished",
            "`tegctl certs issue NAME` for each that `tegctl certs list` shows, then `tegctl certs rotate --finish`",
        )
    _make_ca(folder, _name(known[0]), known)


def issue(folder: Path, name: str, addresses: tuple[str, ...] = ()) -> tuple[Path, Path]:
    """Make a key and a certificate for a name; what was there before is replaced.

    Args:
        folder: Of the authority.
        name: Of the host or program.
        addresses: DNS names and IP addresses that it is reached at; its name is one of them.

    Returns:
        The files of certificate and key.

    Raises:
        RefusedError: If the name is the authority's own, or an address is none.
        DecodeError: If the name is none.
        ConfigError: If there is no authority in the folder.
    """
    if checked_name(name, "host") == "ca":
        raise RefusedError(
            "'ca' is the name of the authority itself: no host can have it",
            "give the host another name; to replace the authority: `tegctl certs rotate`",
        )
    ca, ca_key = _authorities(folder)[0], _ca_key(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [_address(address) for address in dict.fromkeys((name, *addresses))]
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        _begun(_subject(name), ca.subject, key.public_key(), DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(usages, critical=False)
        .add_extension(_issuer(ca), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write(folder / f"{name}.key", _pem_key(key), 0o600)
    _write(folder / f"{name}.pem", _pem(certificate), 0o644)
    return folder / f"{name}.pem", folder / f"{name}.key"


def rows(folder: Path) -> list[dict[str, Any]]:
    """Every certificate with its days to live, and whether the present authority signed it."""
    now, authorities = datetime.datetime.now(datetime.UTC), _authorities(folder)
    found = []
    for path in sorted(folder.glob("*.pem")):
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            signer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        except (ValueError, x509.ExtensionNotFound) as error:
            hint = f"move the file away, or make it anew: `tegctl certs issue {path.stem}`"
            raise ConfigError(
                f"{path} is no certificate of this authority: {str(error).partition('. See ')[0]}", hint
            ) from None
        left = (certificate.not_valid_after_utc - now).days
        current = signer == _issuer(authorities[0])
        found.append({"name": path.stem, "days_left": left, "current": current, "serial": certificate.serial_number})
    return found


def _make_ca(folder: Path, zone: str, older: list[x509.Certificate]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(zone)
    usage = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    certificate = (
        _begun(subject, subject, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**(usage | {"key_cert_sign": True, "crl_sign": True})), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(folder / "ca.key", _pem_key(key), 0o600)
    _write(folder / "ca.pem", b"".join(map(_pem, (certificate, *older))), 0o644)


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _issuer(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    key = ca.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _address(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return x509.DNSName(text)
    except ValueError:
        hint = "write a DNS name or an IP address, in ASCII (xn--... for others)"
        raise RefusedError(f"{text!r} is no address of a host: no certificate was made", hint) from None


def _authorities(folder: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates((folder / "ca.pem").read_bytes())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"there is no certificate authority in {folder}: ca.pem: {why}",
            "`tegctl certs init` makes one there; --dir names another folder",
        ) from None


def _ca_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"there is no key of the authority in {folder}, so nothing can be signed: ca.key: {why}",
            "give the command on the machine, or with --dir in the folder, that has ca.key",
        ) from None
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain)


def _write(path: Path, data: bytes, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(path)

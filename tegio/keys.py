"""Key files: 32 bytes in hexadecimal, closed to everyone but their owner."""

import os
import secrets
from pathlib import Path

from tegcore.errors import ConfigError
from tegcore.wire.signing import KEY_BYTES, Key


def secret_file(setting: str, name: str, default: Path) -> Path:
    """Where a secret is: as the settings say, else handed over by systemd (`LoadCredential=`), else the default."""
    if setting:
        return Path(setting)
    handed = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / name
    return handed if handed.exists() else default


def write_key(path: Path, key: Key) -> None:
    """Put a key on disk, whole or not at all, mode 0600; an existing file is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, key.hex().encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(path)


def make_key(path: Path) -> Key:
    """The key in a file, made of fresh randomness if there is none yet."""
    if not path.exists():
        write_key(path, Key(secrets.token_bytes(KEY_BYTES)))
    return read_key(path)


def read_key(path: Path) -> Key:
    """The key in a file.

    Raises:
        ConfigError: If there is none, it is not 32 bytes in hexadecimal, or others can read it.
    """
    try:
        status, text = path.stat(), path.read_text().strip()
        key = bytes.fromhex(text)
    except OSError as error:
        raise ConfigError(
            f"no key in {path}: {error.strerror}", "`zone-ledger keys HOST` prints the keys that a host is to hold"
        ) from None
    except ValueError:
        raise ConfigError(f"{path} holds no key: 64 hexadecimal digits are wanted") from None
    handed = str(path.parent) == os.environ.get("CREDENTIALS_DIRECTORY")
    if status.st_mode & 0o077 and not handed:
        raise ConfigError(f"others can read {path}", f"chmod 600 {path}")
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path} holds {len(key)} bytes: a key has {KEY_BYTES}")
    return Key(key)

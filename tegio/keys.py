"""Key files, 32 bytes in hexadecimal, and tokens of tenants: closed to everyone but their owner."""

import os
import secrets
from pathlib import Path

from tegcore.errors import ConfigError
from tegcore.wire.signing import KEY_BYTES, Key


def secret_file(setting: str, name: str, default: Path) -> Path:
    """Where a secret is: as the settings say, else handed over by systemd, else the default.

    `LoadCredential=key:FOLDER` hands over the files of a folder, each with `key_` before its name.
    """
    if setting:
        return Path(setting)
    folder = _handed_over()
    handed = [folder / name, folder / f"key_{name}"] if folder is not None else []
    return next((path for path in handed if path.exists()), default)


def write_key(path: Path, key: Key) -> None:
    """Put a key on disk, whole or not at all, mode 0600; an existing file is replaced."""
    write_secret(path, key.hex())


def write_secret(path: Path, text: str) -> None:
    """Put a line on disk, whole or not at all, mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text.encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(path)


def write_token(path: Path, token: int) -> None:
    """Put a tenant's token on disk, as `write_key` does."""
    write_secret(path, str(token))


def tokens(state_dir: Path) -> dict[str, int]:
    """The tokens in `TENANT.token` files: of the state folder, and of what the service manager hands over.

    Raises:
        ConfigError: If a file holds none, or others can read it.
    """
    found = {path.stem: path for path in state_dir.glob("*.token")}
    if (folder := _handed_over()) is not None:
        found |= {path.stem.removeprefix("key_"): path for path in folder.glob("key_*.token")}
    return {name: _read_token(path) for name, path in found.items()}


def _read_token(path: Path) -> int:
    _closed_to_others(path)
    text = path.read_text()[:32].strip()
    if not text.isdigit():
        raise ConfigError(f"{path} holds no token: a whole number is wanted", "`zone-ledger token TENANT` prints one")
    return int(text)


def make_key(path: Path) -> Key:
    """The key in a file, made of fresh randomness if there is none yet."""
    if not path.exists():
        write_key(path, Key(secrets.token_bytes(KEY_BYTES)))
    return read_key(path)


def _handed_over() -> Path | None:
    """Folder of what the service manager hands over (systemd.exec(5), CREDENTIALS)."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None


def read_key(path: Path) -> Key:
    """The key in a file.

    Raises:
        ConfigError: If there is none, it is not 32 bytes in hexadecimal, or others can read it.
    """
    try:
        text = path.read_text().strip()
        key = bytes.fromhex(text)
    except OSError as error:
        raise ConfigError(
            f"no key in {path}: {error.strerror}",
            "`zone-ledger provision` writes the keys that each program is to hold",
        ) from None
    except ValueError:
        raise ConfigError(f"{path} holds no key: 64 hexadecimal digits are wanted") from None
    _closed_to_others(path)
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path} holds {len(key)} bytes: a key has {KEY_BYTES}")
    return Key(key)


def _closed_to_others(path: Path) -> None:
    """What the service manager hands over is closed by its folder."""
    if path.stat().st_mode & 0o077 and path.parent != _handed_over():
        raise ConfigError(f"others can read {path}", f"chmod 600 {path}")

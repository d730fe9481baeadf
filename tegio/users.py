"""From the user that the kernel names to the tenant whose credits that user may spend."""

import os
import pwd
import re
from collections.abc import Collection

from tegcore.errors import PermissionDeniedError
from tegcore.tenancy import Users
from tegcore.units import NAME_BYTES_MAX


def is_operator(uid: int, operators: Collection[int]) -> bool:
    """Root, the user that the program runs as, and those that its settings name."""
    return uid in {0, os.geteuid()} or uid in operators


def own_tenants(uid: int, users: Users) -> list[str]:
    """The tenants that a user may spend as, its own first: those that list it, else one by the user's own name."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"u{uid}"
    name = re.sub(r"[^a-z0-9._-]", "-", name.lower())[:NAME_BYTES_MAX].lstrip("._-") or f"u{uid}"
    return users.tenants_of(uid, name)


def user_name(uid: int) -> str:
    """What this machine calls a user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def user_number(name: str) -> int | None:
    """The number of a user by its name on this machine, or as it is where it is one; None: there is no such user."""
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def tenant_for(uid: int, wanted: str, users: Users, operators: Collection[int], spendable: Collection[str] = ()) -> str:
    """The tenant that a request is made for: one of the user's own, or for operators whichever they name.

    Where none is named, the first of the user's own that can be spent as here, if any can.

    Raises:
        PermissionDeniedError: If someone names another's.
    """
    own = own_tenants(uid, users)
    if wanted in {"", *own} or is_operator(uid, operators):
        return wanted or next((tenant for tenant in own if tenant in spendable), own[0])
    hint = f"leave --tenant out; or ask an operator to run `tegctl tenant add {wanted} --user {user_name(uid)}`"
    raise PermissionDeniedError(
        f"user {user_name(uid)} may spend the credits of {' or '.join(map(repr, own))}, not those of {wanted!r}", hint
    )


def demand_operator(uid: int, operators: Collection[int]) -> None:
    """Let operators pass.

    Raises:
        PermissionDeniedError: If the user is none.
    """
    if not is_operator(uid, operators):
        hint = "ask an operator to run it (root, or who is named in the setting `operators`); with root rights: sudo"
        raise PermissionDeniedError(
            f"only operators may do this, and user {user_name(uid)} is none: nothing was done", hint
        )

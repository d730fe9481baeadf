"""From the user that the kernel names to the tenant whose credits that user may spend."""

import os
import pwd
import re
from collections.abc import Collection, Mapping

from tegcore.errors import PermissionDeniedError
from tegcore.units import NAME_BYTES_MAX


def is_operator(uid: int, operators: Collection[int]) -> bool:
    """Root, the user that the program runs as, and those that its settings name."""
    return uid in {0, os.geteuid()} or uid in operators


def own_tenant(uid: int, tenants: Mapping[str, Collection[int]]) -> str:
    """The tenant that a user is: as the settings say, else one by the user's own name."""
    for name, uids in tenants.items():
        if uid in uids:
            return name
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"u{uid}"
    return re.sub(r"[^a-z0-9._-]", "-", name.lower())[:NAME_BYTES_MAX].lstrip("._-") or f"u{uid}"


def user_name(uid: int) -> str:
    """What this machine calls a user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def tenant_for(uid: int, wanted: str, tenants: Mapping[str, Collection[int]], operators: Collection[int]) -> str:
    """The tenant that a request is made for: the user's own, or for operators whichever they name.

    Raises:
        PermissionDeniedError: If someone names another's.
    """
    own = own_tenant(uid, tenants)
    if wanted in {"", own} or is_operator(uid, operators):
        return wanted or own
    raise PermissionDeniedError(f"user {uid} is tenant {own!r}, not {wanted!r}", "leave --tenant out")


def demand_operator(uid: int, operators: Collection[int]) -> None:
    """Let operators pass.

    Raises:
        PermissionDeniedError: If the user is none.
    """
    if not is_operator(uid, operators):
        hint = "ask an operator; operators are root, the program's own user, and `operators` in its settings"
        raise PermissionDeniedError(f"user {uid} is no operator", hint)

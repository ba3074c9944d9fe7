"""Members as they are kept: the bytes that the manifest's hash is of, compressed. Pure."""

from __future__ import annotations

import hashlib
import zlib

import msgspec

from babylon_tasks.dataset.manifest import canonical
from babylon_tasks.records import Member, PackedMember

# Half the CPU of zlib's own level; what is kept is a twentieth larger.
_LEVEL = 1


class DamagedMember(Exception):
    """What is kept is not what the hash is of; the text says in which way."""


def pack(member: Member) -> PackedMember:
    """Compress a member."""
    plain = canonical(member)
    return PackedMember(hashlib.sha256(plain).digest(), zlib.compress(plain, _LEVEL))


def plain_json(packed: PackedMember) -> bytes:
    """Return a packed member's JSON; raises DamagedMember.

    The hash is compared with the bytes as they were kept: a later release may know more fields.
    """
    try:
        plain = zlib.decompress(packed.member)
    except zlib.error as error:
        raise DamagedMember(f"it cannot be decompressed ({error})") from error
    found = hashlib.sha256(plain).digest()
    if found != packed.content:
        raise DamagedMember(f"its SHA-256 is {found.hex()[:12]}, not {packed.content.hex()[:12]}")
    return plain


def unpack(packed: PackedMember) -> Member:
    """Return the member that was packed; raises DamagedMember."""
    try:
        return msgspec.json.decode(plain_json(packed), type=Member)
    except msgspec.DecodeError as error:
        raise DamagedMember(f"this release cannot read it ({error})") from error

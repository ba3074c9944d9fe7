"""What a step was trained on is kept as the bytes that its manifest's hash is of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from babylon_tasks.dataset.manifest import content_hash
from babylon_tasks.dataset.packed_members import DamagedMember, pack, unpack
from babylon_tasks.records import LlmCall, Member, PackedMember

CALL = LlmCall(
    "babylon@0",
    (("system", "You trade."), ("user", "YES or NO?")),
    "YES",
    1.0,
    policy_step=0,
    logprobs=(-0.30000001192092896, -1e-07),
    token_ids=(73, 2097),
    token_bytes=(b"\xff", b"\x00"),
)
MEMBER = Member("trajectory-1", 0.25, (CALL, CALL), (0, 2))


@given(
    response=st.text(),
    logprobs=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5),
    reward=st.floats(0, 1),
)
def test_a_member_comes_back_as_it_was(response: str, logprobs: list[float], reward: float) -> None:
    call = structs.replace(CALL, response=response, logprobs=tuple(logprobs))
    member = structs.replace(MEMBER, calls=(call,), reward=reward)

    assert unpack(pack(member)) == member


def test_it_is_found_by_the_hash_that_manifests_list() -> None:
    assert pack(MEMBER).content.hex() == content_hash(MEMBER)


def test_every_flipped_byte_is_noticed() -> None:
    packed = pack(MEMBER)
    for place in range(len(packed.member)):
        flipped = bytearray(packed.member)
        flipped[place] ^= 1
        try:
            found = unpack(PackedMember(packed.content, bytes(flipped)))
        except DamagedMember:
            continue
        assert found == MEMBER, f"byte {place}"  # of zlib's header, which says how it was made


@pytest.mark.parametrize("member", [b"", b"no zlib", pack(MEMBER).member[:-3]])
def test_what_is_no_member_is_refused(member: bytes) -> None:
    with pytest.raises(DamagedMember, match="cannot be decompressed"):
        unpack(PackedMember(pack(MEMBER).content, member))


def test_another_member_under_its_hash_is_refused() -> None:
    other = pack(structs.replace(MEMBER, reward=0.5))

    with pytest.raises(DamagedMember, match=r"its SHA-256 is \w{12}, not \w{12}"):
        unpack(structs.replace(other, content=pack(MEMBER).content))

"""Purposes that IAB consent strings deny: TCF 2 core strings, and GPP strings.

Of GPP the EU section and the US national section are read. Formats: IAB Tech Lab,
Transparency and Consent String v2.2; Global Privacy Platform, sections 2 (`tcfeuv2`)
and 7 (`usnat`). Only refusals are read: a string alone never grants anything.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from tactful.errors import InvalidInput

# The TCF purposes that must all be consented to; legitimate interest does not count.
TCF_PURPOSES = {
    "local_profile": (3, 5),
    "local_personalization": (4, 6),
    "share_dp_updates": (10,),
    "share_dp_metrics": (10,),
}
TCF_CONSENTS_AT = 152  # the bit at which purposes 1 to 24 begin
TCF_VERSION, GPP_TYPE, EU, US_NATIONAL = 2, 3, 2, 7
US_OPT_OUTS_AT = (18, 20, 22)  # sale, sharing, targeted advertising; 1 means opted out
SHARED = frozenset({"share_dp_updates", "share_dp_metrics", "cover_traffic"})


@dataclass
class BitReader:
    """A base64url text as bits, from the left.

    Raises InvalidInput if it is too short.
    """

    field: str
    text: str

    def __post_init__(self) -> None:
        """Decode the text; raise InvalidInput if it is not base64url."""
        try:
            content = base64.b64decode(
                self.text + "=" * (-len(self.text) % 4), altchars=b"-_", validate=True
            )
        except (binascii.Error, ValueError) as wrong:
            raise self.unreadable("it is not base64url") from wrong
        self._bits = "".join(f"{byte:08b}" for byte in content)

    def number(self, at: int, width: int) -> int:
        """Return `width` bits from the bit `at` on, as a number."""
        if at + width > len(self._bits):
            raise self.unreadable("it is too short")
        return int(self._bits[at : at + width], 2)

    def fibonacci(self, at: int) -> tuple[int, int]:
        """Return (number, next bit) of the Fibonacci code at `at`.

        It ends with two ones.
        """
        end = self._bits.find("11", at)
        if end < 0:
            raise self.unreadable("a section's number does not end")
        value = 0
        low, high = 1, 2  # consecutive Fibonacci numbers
        for bit in self._bits[at : end + 1]:
            value += low if bit == "1" else 0
            low, high = high, low + high
        return value, end + 2

    def unreadable(self, problem: str) -> InvalidInput:
        """Return the error for this string."""
        return InvalidInput(
            self.field, problem, "pass the string as it was received, or None"
        )


def denied_by_tcf(text: str, field: str = "restrictions.tcf") -> frozenset[str]:
    """Return the purposes that a TCF 2 string denies.

    Raise InvalidInput if it cannot be read.
    """
    core = BitReader(field, text.partition(".")[0])
    if core.number(0, 6) != TCF_VERSION:
        raise core.unreadable(f"version {core.number(0, 6)} is not 2")
    consents = {
        number: core.number(TCF_CONSENTS_AT + number - 1, 1) == 1
        for number in range(1, 25)
    }
    return frozenset(
        purpose
        for purpose, needed in TCF_PURPOSES.items()
        if not all(consents[number] for number in needed)
    )


def denied_by_gpp(text: str) -> frozenset[str]:
    """Return the purposes that a GPP string denies.

    An unknown section denies all sharing.
    """
    header, *sections = text.split("~")
    numbers = _sections(BitReader("restrictions.gpp", header))
    if len(numbers) != len(sections):
        raise InvalidInput(
            "restrictions.gpp",
            f"its header names {len(numbers)} sections, {len(sections)} follow",
            "pass the string as it was received, or None",
        )
    denied: frozenset[str] = frozenset()
    for number, section in zip(numbers, sections, strict=True):
        denied |= _denied_by_section(number, section)
    return denied


def _sections(header: BitReader) -> list[int]:
    """Return the section numbers of a GPP header.

    They are stored as single numbers or ranges, each relative to the number before.
    """
    if (header.number(0, 6), header.number(6, 6)) != (GPP_TYPE, 1):
        raise header.unreadable("it is not a GPP header of version 1")
    numbers: list[int] = []
    at = 24  # the bit at which the entries begin
    last = 0
    for _ in range(header.number(12, 12)):
        is_range = header.number(at, 1)
        at += 1
        step, at = header.fibonacci(at)
        first = last = last + step
        if is_range:
            step, at = header.fibonacci(at)
            last = first + step
        numbers += range(first, last + 1)
    return numbers


def _denied_by_section(number: int, section: str) -> frozenset[str]:
    if number == EU:
        return denied_by_tcf(section, "restrictions.gpp")
    if number != US_NATIONAL:
        return SHARED
    core, *rest = section.split(".")
    bits = BitReader("restrictions.gpp", core)
    opted_out = any(bits.number(at, 2) == 1 for at in US_OPT_OUTS_AT)
    return SHARED if opted_out or _has_gpc(rest) else frozenset()


def _has_gpc(segments: list[str]) -> bool:
    """Return True if a US section has a Global Privacy Control segment that is set."""
    readers = [BitReader("restrictions.gpp", segment) for segment in segments]
    return any(
        reader.number(0, 2) == 1 and reader.number(2, 1) == 1 for reader in readers
    )

"""What a person must know of an X.509 certificate that did not verify: whose it is, and until when.

Python shows a certificate's fields only after it has verified it. This reads the two fields from the DER
form (RFC 5280, section 4.1) and nothing more.
"""

from __future__ import annotations

COMMON_NAME = b"\x06\x03\x55\x04\x03"  # the object identifier 2.5.4.3, as DER writes it


def describe(certificate: bytes) -> str:
    """Return for example ``CN=api.example, until 2026-01-01``; parts that cannot be read are left out."""
    try:
        # Certificate → TBSCertificate → [version], serialNumber, signature, issuer, validity, subject
        fields = _items(_items(_items(certificate)[0][1])[0][1])
        validity, subject = [value for tag, value in fields if tag == 0x30][2:4]
        ends = _items(validity)[1]
    except (IndexError, ValueError):
        return ""
    words = []
    at = subject.find(COMMON_NAME)
    if at >= 0:
        try:
            name = _items(subject[at + len(COMMON_NAME) :])[0][1].decode("utf-8", "replace")
        except (IndexError, ValueError):
            name = ""
        words.append("CN=" + "".join(c if c.isprintable() else "?" for c in name)[:64])
    words.append("until " + _date(*ends))
    return ", ".join(words)


def _items(data: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each element of a DER sequence; stops where it makes no sense any more."""
    found = []
    at = 0
    while at + 2 <= len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        found.append((tag, data[at : at + length]))
        at += length
    return found


def _date(tag: int, text: bytes) -> str:
    """Return the day of a UTCTime (tag 0x17, two digits of the year, 1950 to 2049) or GeneralizedTime."""
    digits = text.decode("ascii", "replace")
    if tag == 0x17:
        digits = ("20" if digits[:2] < "50" else "19") + digits
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"

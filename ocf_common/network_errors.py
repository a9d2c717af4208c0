"""Words for what goes wrong on the way to a dependency, whichever library met it.

Libraries wrap an error of the operating system into several of their own; what an operator needs to know is
the innermost one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# By name: importing socket, ssl or a library only to recognise its errors would cost milliseconds.
TIMEOUTS = ("timeout", "TimeoutError", "ConnectTimeout", "ReadTimeout", "AMQPConnectorStackTimeout")
UNRESOLVED = ("gaierror", "Unresolvable", "NameResolutionError")


def causes(error: BaseException) -> list[BaseException]:
    """Return ``error`` and every error that was wrapped into it, the outermost first."""
    found = [error]
    for item in found:
        inner = [item.__cause__, item.__context__, *item.args]
        inner += [getattr(item, name, None) for name in ("reason", "exception", "original_exception")]
        inner += list(getattr(item, "exceptions", ()))
        for other in inner:
            if isinstance(other, BaseException) and all(other is not known for known in found):
                found.append(other)
    return found


def unverified(errors: Iterable[BaseException]) -> str:
    """Return why OpenSSL does not trust the certificate of the other end, or an empty string."""
    for error in errors:
        if type(error).__name__ == "SSLCertVerificationError":
            return str(getattr(error, "verify_message", "") or "verification failed").rstrip(".")
    return ""


def broken_tls(errors: Iterable[BaseException]) -> str:
    """Return why TLS could not be spoken with the other end, or an empty string."""
    for error in errors:
        if type(error).__name__ in ("SSLError", "SSLEOFError", "SSLZeroReturnError") and isinstance(error, OSError):
            reason = getattr(error, "reason", "")
            if isinstance(reason, str):
                return reason.lower().replace("_", " ") or "handshake failed"
    return ""


def trouble(errors: Iterable[BaseException], seconds: float) -> str:
    """Return what stands between us and the other end, as the rest of a sentence about it, or an empty string.

    :param seconds: how long was waited, for "does not answer within"
    """
    errors = list(errors)
    for error in errors:
        if type(error).__name__ in UNRESOLVED:
            return "cannot be resolved"
    for error in errors:
        if isinstance(error, TimeoutError) or type(error).__name__ in TIMEOUTS:
            return no_answer(seconds)
        if isinstance(error, ConnectionRefusedError):
            return "refuses connections"
        if isinstance(error, (ConnectionResetError, BrokenPipeError)):
            return "resets connections"
    for error in errors:
        if isinstance(error, OSError) and error.strerror:
            return f"cannot be reached: {error.strerror}"
    return ""


def no_answer(seconds: float) -> str:
    return f"does not answer within {duration(seconds)}"


def duration(seconds: float) -> str:
    """Return ``seconds`` for a reason: 4.98 becomes ``5 s``."""
    return f"{round(seconds, 1):g} s"

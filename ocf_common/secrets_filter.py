"""Nothing secret in reasons and logs: every text from outside goes through here before it is shown.

Two nets, because neither holds alone: secrets that are known (from the configuration and the parameters),
however a URL or JSON may have written them, and places where a secret must be (``://user:HERE@``,
``password=HERE``), known or not. Runs only when something is wrong: it imports what it needs when used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "***"
MOST = 400  # characters of a reason; crm_mon shows it on one line
# A shorter secret is hidden only where it stands alone: "nova" as a password must not eat "nova-scheduler".
LONG_ENOUGH = 8

NAMES = r"pass|passwd|password|passphrase|secret|token|secret_key|shared_key|fixed_key|api_key|subject-token"
# In this order: a name and its value, in quotes (JSON, Python, also with the quotes escaped) or without.
PLACES = (
    (rf"""(?i)((?:{NAMES})(?:\\?["'])?\s*[:=]\s*[bu]?(\\?["'])).*?(?:\2|$)""", rf"\1{HIDDEN}\2"),
    (rf"""(?i)((?:{NAMES})\s*[:=]\s*)(?!\\?["']|\*\*\*)[^\s,;&)}}\]]+""", rf"\1{HIDDEN}"),
    (r"""(?i)((?:bearer|basic)\s+)[\w.~+/=-]{8,}""", rf"\1{HIDDEN}"),
    (r"""(://[^\s:/@]*:)\S*@""", rf"\1{HIDDEN}@"),
)


class Redactor:
    """Cleans texts of ``secrets``; building it is cheap, nothing is prepared before the first text."""

    __slots__ = ("_forms", "_secrets")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = list(secrets)
        self._forms: list[str] | None = None

    def clean(self, text: str, most: int = MOST) -> str:
        """Return ``text`` on one line, without secrets and control characters, of ``most`` characters at most."""
        import re

        # Secrets first: a cut or a changed character in the middle of one would hide it from us.
        for form in self.forms():
            if form not in text:
                continue
            if len(form) >= LONG_ENOUGH:
                text = text.replace(form, HIDDEN)
            else:
                text = re.sub(rf"(?<![\w-]){re.escape(form)}(?![\w-])", HIDDEN, text)
        # No pattern crosses a line; one that long is no message, and patterns must not take for ever on it.
        line = " ".join("".join(c if c.isprintable() else " " for c in text[: 20 * most]).split())
        for pattern, instead in PLACES:
            line = re.sub(pattern, instead, line)
        return line if len(line) <= most else line[: max(most - 1, 0)] + "…"

    def forms(self) -> list[str]:
        """Return every way in which the secrets may be written, longest first."""
        if self._forms is None:
            from json import dumps
            from urllib.parse import quote, quote_plus

            found: dict[str, None] = {}
            for secret in self._secrets:
                for safe in ("/", ""):
                    found[quote(secret, safe, errors="replace")] = None
                for form in (secret, quote_plus(secret, errors="replace"), dumps(secret)[1:-1], repr(secret)[1:-1]):
                    found[form] = None
            found.pop("", None)
            found.pop(HIDDEN, None)
            self._forms = sorted(found, key=len, reverse=True)
        return self._forms

"""Finds and removes secrets in URLs: passwords, tokens and signatures."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote

HIDDEN = "***"
_NAMES_KEPT = 1024

# Patterns are texts, which `re` compiles when they are first used: few processes need one of them.
_NAME = (
    r".*(?:password|passwd|passphrase|secret).*|.*(?:token|signature|credentials?|apikey|accesskey|accesskeyid|accountkey"
    r"|privatekey|sharedkey|subscriptionkey|authkey|sessionkey)|pwd|pass|key|sig|sas|auth|authorization|bearer|jwt"
)
"""Names of parameters that hold a secret, in lower case without punctuation."""

_SIGNATURES = (
    ("xamz(?:signature|credential|securitytoken)", "xamz.*"),
    ("xgoog(?:signature|credential)", "xgoog.*"),
    ("x?oss(?:signature|credential|securitytoken|accesskeyid)", "x?oss.*|expires|signature|securitytoken"),
    (
        "signature|awsaccesskeyid|googleaccessid|keypairid",
        "signature|awsaccesskeyid|googleaccessid|keypairid|policy|expires|xamzsecuritytoken",
    ),
    (
        "sig",
        "sig|sv|ss|srt|sr|sp|st|se|spr|sip|si|ses|sdd|scid|saoid|suoid|skoid|sktid|skt|ske|sks|skv|sduoid|skdutid",
    ),
)
"""For each kind of signature, the parameters that identify it and all that belong to it."""

# The lengths are limited, so that long text without a URL is searched in linear time.
# fsspec's `github://owner:repository@branch` contains no password.
_SCHEME = r"(?<![A-Za-z0-9+.\-])(?!(?i:github):)[A-Za-z][A-Za-z0-9+.\-]{0,30}:/+"
# A number before a slash is a port. IPv6 addresses in brackets contain colons.
_USER = rf"({_SCHEME}[^\s:/?#\[]{{0,500}}):(?![@:]|\d{{1,5}}(?:[/?#\s]|$))"
_PASSWORD = rf"(?s)^{_USER}.*@"
_PASSWORD_IN_TEXT = rf"{_USER}[^\s'\"]{{0,2000}}@"
_TOKEN_USER = (
    r"(https?:/+)(?=[^\s/?#:@]{1,500}:?@)(?:gh[a-z]_|github_pat_|gl[a-z]+-|hf_|xox[a-z]-|sk-|dckr_|npm_|pypi-|AKIA|ASIA|AIza|eyJ|(?=[^@]*\d)(?=[^@]*[a-z])"  # noqa: S105 - a pattern
    r"(?=[^@]*[A-Z])[A-Za-z0-9_\-]{20}|(?=[^@]*\d)[A-Za-z0-9_\-]{32})[^\s/?#:@]*:?@"
)
_KEYWORD = r"(?i)(?<![/\w])((?:ssl)?password|passwd|pwd|oauth_client_secret)(\s*=\s*)('(?:[^'\\]|\\.){0,1000}'|[^\s&;#'\")*]+)"
_PARAMETER = r"([?&;#]|%3[FfBb]|%26|%23)([A-Za-z0-9_.\-%\[\]+]{1,200})(=|%3[Dd])([^\s&;#'\"<>]*)"
_SEPARATORS = r"([?#&;])"
_CONNECTION = r"(?i)(?:^|\s)(?:ssl)?password\s*="


def redact(text: str) -> str:
    """Return text in which each secret in a URL is replaced by ``***``."""
    if "://" not in text and "=" not in text and ":/" not in text:
        return text
    text = re.sub(_PASSWORD_IN_TEXT, rf"\1:{HIDDEN}@", text)
    text = re.sub(_TOKEN_USER, rf"\1{HIDDEN}@", text)
    text = re.sub(_PARAMETER, _hidden, text)
    return re.sub(_KEYWORD, rf"\1\2{HIDDEN}", text)


def redact_url(url: str) -> str:
    """Return a URL with its secrets replaced like `redact`. Its password may also contain spaces."""
    return redact(re.sub(_PASSWORD, rf"\1:{HIDDEN}@", url))


def find_secret(url: str) -> str | None:
    """Return the name of the secret in a URL, such as ``the parameter 'token'``; None if it has none.

    File paths and ``data:`` URLs contain no secrets.
    """
    if re.search(_CONNECTION, url):
        return "a password"
    if not re.match(_SCHEME, url) and "::" not in url:
        return None
    if re.search(_PASSWORD, url) or re.search(_PASSWORD_IN_TEXT, url):
        return "a password"
    if re.search(_TOKEN_USER, url):
        return "an access token"
    named = next((piece for _, piece in _pieces(url)[1] if _is_secret(piece)), None)
    return None if named is None else f"the parameter {unquote(named.partition('=')[0])!r}"


def without_signature(url: str) -> str:
    """Return a URL without the parameters of a temporary signature."""
    _, pieces = _pieces(url)
    theirs = _signature_of(frozenset(_plain(piece) for _, piece in pieces))
    return url if theirs is None else without_parameters(url, lambda name: theirs.fullmatch(name) is not None)


@lru_cache(_NAMES_KEPT)
def _signature_of(names: frozenset[str]) -> re.Pattern[str] | None:
    """Return a pattern for all parameters of the signatures that some names belong to; None if there is no signature."""
    theirs = [whole for mark, whole in _SIGNATURES if any(re.fullmatch(mark, name) for name in names)]
    return re.compile("|".join(theirs)) if theirs else None


def without_parameters(url: str, is_dropped: Callable[[str], bool]) -> str:
    """Return a URL without some parameters. The function receives each parameter name in lower case."""
    kept, pieces = _pieces(url)
    waiting = ""
    for separator, piece in pieces:
        waiting = separator if separator in "?#" or not waiting else waiting
        if not is_dropped(_plain(piece)):
            kept += waiting + piece
            waiting = ""
    return kept


def without_secrets(url: str) -> str:
    """Return the URL of a database without passwords."""
    bare = re.sub(_PASSWORD, r"\1@", url)
    return without_parameters(bare, lambda name: "password" in name or "secret" in name)


def _pieces(url: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the part before the query or fragment, and each separator with the following parameter."""
    found = re.search(r"[?#]", url)
    if found is None:
        return url, []
    parts = re.split(_SEPARATORS, url[found.start() :])
    return url[: found.start()], list(zip(parts[1::2], parts[2::2], strict=True))


def _plain(piece: str) -> str:
    """Return the name of a parameter in lower case, percent-decoded, without punctuation."""
    return _plain_name(piece.partition("=")[0])


@lru_cache(_NAMES_KEPT)
def _plain_name(name: str) -> str:
    for _ in range(3):
        name = unquote(name)
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_secret(piece: str) -> bool:
    _, given, value = piece.partition("=")
    return bool(given and value) and re.fullmatch(_NAME, _plain(piece)) is not None


def _hidden(found: re.Match[str]) -> str:
    before, name, given, value = found.groups()
    if not value or not re.fullmatch(_NAME, _plain(name)):
        return found[0]
    return f"{before}{name}{given}{HIDDEN}"

"""What values of Secrets are called among the routers' own: another value is another file.

A kubelet brings a mounted Secret up to date when it gets to it, perhaps a minute after the
ConfigMap. A configuration that names a value by its content cannot be loaded, and so not be
acknowledged, before that very value is there. https://kubernetes.io/docs/concepts/configuration/secret/
"""

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from embedway_operator.names import SECRETS_FOLDER

Fragment = dict[str, Any]

# What a Secret may hold, in bytes of all its values.
MOST_BYTES = 1 << 20
# A name in a Secret has 253 characters at most.
_MOST_STEM = 230
_DIGEST = re.compile(r"\.[0-9a-f]{16}$")


def file_of(reference: Fragment, value: bytes) -> str:
    """The file of one value of `{name, key}`; the name tells people whose it is."""
    name, key = str(reference["name"]), str(reference.get("key", "key"))
    told = hashlib.sha256(json.dumps([name, key]).encode() + b"\0" + value)
    return f"{f'{name}.{key}'[:_MOST_STEM]}.{told.hexdigest()[:16]}"


def path_of_file(file: str) -> str:
    """Where routers find it."""
    return f"{SECRETS_FOLDER}/{file}"


def files_in(fragment: Fragment) -> Iterator[str]:
    """Files that a target or a tenant names."""
    for holder in _holders(fragment):
        yield str(holder["file"]).rpartition("/")[2]


def refreshed(before: Fragment | None, wished: Fragment) -> Fragment | None:
    """What goes on as it was, but with the values of now, where the new wish names the same ones.

    A key that is rotated or revoked is not kept waiting by a mistake elsewhere in its resource.
    """
    if before is None:
        return None
    now = {_stem(file): file for file in files_in(wished)}
    found = copy.deepcopy(before)
    for holder in _holders(found):
        old = str(holder["file"]).rpartition("/")[2]
        holder["file"] = path_of_file(now.get(_stem(old), old))
    return found


def within_size(data: Mapping[str, str], needed: frozenset[str]) -> dict[str, str]:
    """Base64 values as they are, or only those that are needed where all are more than fit."""
    # Four characters are three bytes.
    if sum(len(value) * 3 // 4 for value in data.values()) <= MOST_BYTES:
        return dict(data)
    return {name: value for name, value in data.items() if name in needed}


def _holders(fragment: Fragment) -> Iterator[Fragment]:
    """Where a target or a tenant names a file of the routers' Secret."""
    for one in (fragment.get("api_key"), *(fragment.get("keys") or [])):
        if isinstance(one, dict) and str(one.get("file", "")).startswith(f"{SECRETS_FOLDER}/"):
            yield one


def _stem(file: str) -> str:
    """The name without the value's hash, which earlier releases had none of."""
    return _DIGEST.sub("", file)

"""The configuration file: what is valid, and one sentence for each mistake."""

from pathlib import Path

import pytest
import yaml

from router.config.domain_of import keys_of, routes_of, spaces_of
from router.config.load import load_settings, parse_settings
from router.domain.errors import ConfigurationError
from router.domain.keys import fingerprint

GOOD = """
spaces:
  small: {model: org/small, dimensions: 64, matryoshka: [8, 64], max_tokens: 128}
  other: {model: org/other, dimensions: 32, max_tokens: 128}
targets:
  local: {space: small, upstream: triton, url: "grpc://127.0.0.1:8001", model: small}
  spare: {space: small, upstream: fake}
  alien: {space: other, upstream: fake}
routes:
  small: {targets: [local, spare]}
tenants:
  acme: {keys: [{name: first, env: ACME_KEY}]}
"""
KEY = "ew-0123456789abcdef"


def changed(path: str, value: object) -> str:
    """GOOD with the setting at a dotted path replaced."""
    data = yaml.safe_load(GOOD)
    *parents, last = path.split("/")
    place = data
    for part in parents:
        place = place.setdefault(part, {})
    place[last] = value
    return yaml.safe_dump(data)


def test_a_valid_file_becomes_routes_of_one_space() -> None:
    """Settings turn into the domain's words."""
    settings = parse_settings(GOOD, "file")
    routes = routes_of(settings, spaces_of(settings))
    assert routes["small"].space.matryoshka == (8, 64)
    assert routes["small"].targets == ("local", "spare")
    assert settings.server.port == 8080


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            changed("spaces/small/dimension", 3), "spaces.small.dimension: is not a setting",
            id="unknown key",
        ),
        pytest.param(changed("server/prot", 1), "server.prot: is not a setting", id="in a section"),
        pytest.param(changed("extra", 1), "extra: is not a setting", id="at the top"),
        pytest.param(changed("spaces/small/dimensions", 0), "greater than", id="range"),
        pytest.param(
            changed("spaces/small/matryoshka", [8, 65]), "within 1 and 64", id="matryoshka"
        ),
        pytest.param(
            changed("targets/local/space", "nowhere"), "there is no space 'nowhere'", id="space"
        ),
        pytest.param(
            changed("routes/small/targets", ["gone"]), "there is no target 'gone'", id="target"
        ),
        pytest.param(
            changed("routes/small/targets", ["local", "alien"]),
            "a route stays in one space, these lie in other and small", id="two spaces",
        ),
        pytest.param(changed("routes/small/targets", []), "at least 1 item", id="no targets"),
        pytest.param(
            changed("targets/local/url", "http://x"), "grpc://host:port", id="triton url"
        ),
        pytest.param(changed("targets/local/model", None), "needs a model", id="triton model"),
        pytest.param(
            changed("targets/local/padded_profiles", []), "give one or more", id="no profiles"
        ),
        pytest.param(
            changed("targets/spare/padded_profiles", [[8, 128]]), "to a triton target only",
            id="padded fake",
        ),
        pytest.param(
            changed("targets/local/padded_profiles", [[0, 128]]), "greater than", id="no rows"
        ),
        pytest.param(
            changed("targets/local/padded_profiles", [[8, 128], [8, 128]]), "must take longer",
            id="profiles of one length",
        ),
        pytest.param(
            changed("targets/local/padded_profiles", [[4, 64], [8, 128]]), "not more sequences",
            id="a longer profile with more sequences",
        ),
        pytest.param(
            changed("targets/local/padded_profiles", [[8, 64], [1, 127]]),
            "the longest takes 127 tokens, spaces.small.max_tokens promises 128",
            id="profiles shorter than the space",
        ),
        pytest.param(
            changed("tenants/acme/keys", [{"name": "k"}]), "exactly one of", id="no source"
        ),
        pytest.param(
            changed("tenants/acme/keys", [{"name": "k", "sha256": "AB"}]), "pattern", id="hash"
        ),
        pytest.param(
            changed("spaces/small/prompts", {"query": "no place"}), "{text} once", id="template"
        ),
        pytest.param(
            changed("spaces/small/prompts", {"query": "{instruction}{text}"}),
            "set default_instruction", id="instruction",
        ),
        pytest.param(GOOD + "routes: {}\n", "key 'routes' stands twice (line 13)", id="twice"),
        pytest.param("a: [", "is not valid YAML", id="yaml"),
        pytest.param("- a", "must hold a mapping", id="a list"),
        pytest.param("", "must hold a mapping", id="empty"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_its_path(text: str, sentence: str) -> None:
    """The file, the place in it and what is wrong there, on one line."""
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(text, "router.yaml")
    message = str(caught.value)
    assert message.startswith("router.yaml: ")
    assert sentence in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that cannot be read is a configuration error."""
    with pytest.raises(ConfigurationError, match=r"gone\.yaml: cannot be read"):
        load_settings(tmp_path / "gone.yaml")


def test_keys_come_from_hash_environment_and_file(tmp_path: Path) -> None:
    """All three ways end in the same fingerprint; the secret itself is not kept."""
    secret_file = tmp_path / "key"
    secret_file.write_text("ew-from-a-file-0123\n")
    keys = [
        {"name": "hashed", "sha256": fingerprint("ew-hashed-0123456789")},
        {"name": "env", "env": "ACME_KEY"},
        {"name": "file", "file": str(secret_file)},
    ]
    settings = parse_settings(changed("tenants/acme/keys", keys), "file")
    known = keys_of(settings, {"ACME_KEY": KEY})
    assert {digest: key.caller.key_name for digest, key in known.items()} == {
        fingerprint("ew-hashed-0123456789"): "hashed",
        fingerprint(KEY): "env",
        fingerprint("ew-from-a-file-0123"): "file",
    }


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        pytest.param({}, "ACME_KEY must hold at least 16 characters, it holds 0", id="unset"),
        pytest.param({"ACME_KEY": "short"}, "it holds 5", id="short"),
    ],
)
def test_a_key_without_a_usable_secret_stops_the_start(
    environment: dict[str, str], sentence: str
) -> None:
    """A key that anyone could guess is never taken."""
    with pytest.raises(ConfigurationError, match=sentence):
        keys_of(parse_settings(GOOD, "file"), environment)


def test_one_key_for_two_tenants_is_refused() -> None:
    """Nobody would know who pays."""
    keys = [{"name": "same", "env": "ACME_KEY"}]
    text = changed("tenants/rival", {"keys": keys})
    with pytest.raises(ConfigurationError, match="key same is the same as key first of tenant"):
        keys_of(parse_settings(text, "file"), {"ACME_KEY": KEY})

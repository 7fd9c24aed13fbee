"""Rules by language: told right where it is told at all, and asked for only by a rule."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from router.config.languages import LANGUAGES
from router.config.load import parse_settings
from router.domain.errors import ConfigurationError
from router.domain.types import TokenBatch
from router.routing.needs import needs_of
from router.text import language
from router.text.language import LanguageDetector
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import fake_settings
from tests.support.wire import embed

SENTENCES = {
    "en": ["where is the harbour", "The ship left the harbour at dawn."],
    "de": ["Wo ist der Hafen?", "Das Schiff verließ den Hafen im Morgengrauen."],
    "fr": ["Où est le port ?", "Comment réinitialiser mon mot de passe ?"],
    "fi": ["Missä on satama?", "Miten vaihdan salasanani?"],
    "es": ["¿Dónde está el puerto?", "El barco salió del puerto al amanecer."],
    "it": ["Dov'è il porto?", "La nave lasciò il porto all'alba."],
    "pl": ["Gdzie jest port?", "Jak zresetować hasło?"],
    "ru": ["Корабль покинул гавань на рассвете."],
    "uk": ["Корабель залишив гавань на світанку."],
    "zh": ["光合作用把光、水和二氧化碳变成糖。"],
    "ja": ["港はどこですか", "注文した商品の配送先を変更するにはどうすればよいですか。"],
    "ko": ["항구가 어디입니까?"],
    "ar": ["كيف يمكنني تغيير عنوان التسليم بعد شحن الطلب؟"],
    "hi": ["प्रकाश संश्लेषण प्रकाश और पानी को शर्करा में बदलता है।"],
}  # fmt: skip


@pytest.fixture(scope="module")
def detector() -> LanguageDetector:
    return LanguageDetector()


@pytest.mark.parametrize(
    ("code", "text"), [(code, text) for code, texts in SENTENCES.items() for text in texts]
)
def test_a_sentence_is_told(detector: LanguageDetector, code: str, text: str) -> None:
    """Fourteen languages, among them pairs that share a script."""
    assert detector.language_of(text) == code


@pytest.mark.parametrize(
    "text", ["", "12345", "port", "Hafen", "гавань", "asdf qwer", "x = f(y) + 1", "😀", "\x00"]
)
def test_what_cannot_be_sure_is_unknown(detector: LanguageDetector, text: str) -> None:
    """Words of many languages, code, and none: no rule by language holds for them."""
    assert detector.language_of(text) is None


def test_the_codes_of_the_configuration_are_the_detectors(detector: LanguageDetector) -> None:
    """A rule can name every language that is told, and no other."""
    assert detector.languages == LANGUAGES


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=600))
def test_any_text_has_a_known_language_or_none(detector: LanguageDetector, text: str) -> None:
    """No input makes it stumble."""
    assert detector.language_of(text) in LANGUAGES | {None}


def test_a_language_is_found_out_once_and_only_if_it_is_asked_for() -> None:
    """A request whose rules look at nothing else costs nothing; a retry asks no second time."""
    asked: list[str] = []

    def language_of(text: str) -> str:
        asked.append(text)
        return "fr"

    batch = TokenBatch(np.array([1], "i4"), np.array([1], "i4"))
    needs = needs_of(
        batch, tenant="t", tag=None, input_type=None, texts=["un", "deux"], wall_s=0.0,
        language_of=language_of,
    )  # fmt: skip
    assert asked == []
    assert (needs.language(), needs.language(), asked) == ("fr", "fr", ["un deux"])


def test_without_text_a_language_is_unknown() -> None:
    """Ids have none."""
    batch = TokenBatch(np.array([1], "i4"), np.array([1], "i4"))
    needs = needs_of(
        batch, tenant="t", tag=None, input_type=None, texts=None, wall_s=0.0,
        language_of=lambda text: "fr",
    )  # fmt: skip
    assert needs.language() is None


def _settings(minilm: Path) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(fake_settings(minilm))
    made["targets"]["french"] = {"space": "plain-space", "upstream": "fake"}
    made["routes"]["plain"] = {
        "targets": ["plain-target", "french"],
        "rules": [{"name": "fr", "when": {"languages": ["fr"]}, "targets": ["french"]}],
    }
    return made


def test_a_router_sends_a_language_where_its_rule_says(minilm: Path) -> None:
    """Others go the usual way."""
    with RouterUnderTest(yaml.safe_dump(_settings(minilm))) as router:
        eventually(lambda: all(map(router.app.fleet.is_up, router.app.fleet.upstreams)))
        told = {
            text: embed(router, input=text).headers["x-embedway-target"]
            for text in ("Où est le port ?", "Where is the harbour?", "port")
        }
    assert list(told.values()) == ["french", "plain-target", "plain-target"]


def test_an_unknown_code_is_refused(minilm: Path) -> None:
    """With the path and the word."""
    made = _settings(minilm)
    made["routes"]["plain"]["rules"][0]["when"]["languages"] = ["french"]
    with pytest.raises(ConfigurationError, match=r"languages\.0: 'french' is no language"):
        parse_settings(yaml.safe_dump(made), "test")


def test_without_the_extra_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence that says what to install."""

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(language, "import_module", missing)
    with pytest.raises(ConfigurationError, match=r"install embedway\[languages\]"):
        LanguageDetector()

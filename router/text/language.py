"""Which language a text is in, told from a sample; loaded only where a rule asks for it."""

from importlib import import_module
from typing import Any

from router.config.settings import Settings
from router.domain.errors import ConfigurationError

# 150 µs of work: little enough for the event loop.
_SAMPLE = 400
# Below it the answer is "unknown". Sentences are above it, single words mostly below.
_LEAST_CONFIDENCE = 0.5
_NO_LANGUAGE = "zxx"


class LanguageDetector:
    """py3langid's model of 139 languages: n-grams of bytes, 4.6 MB on disk, 0.1 GB loaded."""

    def __init__(self) -> None:
        """Load it, which takes about a second; ConfigurationError where it is not installed."""
        try:
            langid: Any = import_module("py3langid.langid")
        except ImportError as error:
            raise ConfigurationError(
                "rules with `languages` need py3langid: install embedway[languages]"
            ) from error
        self._identifier = langid.LanguageIdentifier.from_model_file(
            langid.MODEL_FILE, norm_probs=True
        )

    @property
    def languages(self) -> frozenset[str]:
        """Codes that it may answer."""
        return frozenset(map(str, self._identifier.labels)) - {_NO_LANGUAGE}

    def language_of(self, text: str) -> str | None:
        """ISO 639 code of a text's language, or None where that is not sure."""
        language, confidence = self._identifier.classify(text[:_SAMPLE])
        known = language != _NO_LANGUAGE and confidence >= _LEAST_CONFIDENCE
        return str(language) if known else None


def detector_of(
    settings: Settings, loaded: LanguageDetector | None = None
) -> LanguageDetector | None:
    """The detector, where a rule of any route asks for a language; one that is `loaded` goes on."""
    rules = (rule for route in settings.routes.values() for rule in route.rules)
    if any(rule.when.languages is not None for rule in rules):
        return loaded or LanguageDetector()
    return None

"""Stems of words, by Snowball's algorithms for each language (`PyStemmer`).

The index has words as they were written. A search asks for all words of the index that have a stem
in common with its own, so a library may have many languages, and no row is in any one of them.
"""

import threading

import Stemmer

#: The algorithms by the languages of locales.
LANGUAGES = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german",
    "el": "greek", "en": "english", "es": "spanish", "et": "estonian", "eu": "basque",
    "fa": "persian", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi",
    "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian",
    "lt": "lithuanian", "nb": "norwegian", "ne": "nepali", "nl": "dutch", "nn": "norwegian",
    "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
#: Where nobody says which language the words are in.
USUAL = ("english", "german", "spanish", "french", "portuguese", "italian", "dutch", "russian")
#: Stemmers are not for several threads.
_own = threading.local()


def languages(locale: str) -> tuple[str, ...]:
    """The languages that words may be in: that of the locale, such as `de_CH`, and English."""
    own = LANGUAGES.get(locale[:2].lower()) if locale[2:3] in ("", "-", "_") else None
    return tuple(dict.fromkeys((own, "english"))) if own else USUAL


def stems(word: str, of: tuple[str, ...]) -> list[str]:
    """The stems of a word in each of some languages."""
    stemmers = _own.__dict__
    found = []
    for language in of:
        if language not in stemmers:
            stemmers[language] = Stemmer.Stemmer(language)
        found.append(stemmers[language].stemWord(word))
    return found

"""The page for people: in their language, safe to look at, and silent about a model that a key protects."""

from __future__ import annotations

import re

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.serve.http.page import Asked, page
from luban.serve.http.page_words import NAMES, WORDS, language_of

KEY = "k" * 32
HAN = re.compile("[\u4e00-\u9fff]")


def visible(html: str) -> str:
    """What a person reads: without the style, the commands, and the link to the other language."""
    return re.sub(r"<style>.*?</style>|<pre.*?</pre>|<nav class=.*?</nav>|<[^>]*>", " ", html, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("accepted", "asked", "language"),
    [
        ("", "", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "", "zh"),
        ("zh-TW", "", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "", "en"),
        ("fr;q=0.9, zh;q=0.2", "", "zh"),
        ("zh;q=0, fr", "", "en"),
        ("zh;q=nan", "", "en"),
        ("zh;q=7", "", "en"),
        ("*", "", "en"),
        ("zh", "en", "en"),
        ("en", "zh", "zh"),
        ("zh", "tlh", "zh"),
    ],
)
def test_the_language_is_what_the_browser_likes_best(accepted: str, asked: str, language: str) -> None:
    assert language_of(accepted, asked) == language


@given(st.text(), st.text())
def test_any_header_gives_a_language(accepted: str, asked: str) -> None:
    assert language_of(accepted, asked) in WORDS


def test_both_languages_have_the_same_words_and_blanks() -> None:
    english, chinese = WORDS["en"], WORDS["zh"]
    assert english.keys() == chinese.keys()
    for key, said in english.items():
        assert set(re.findall(r"\{\w+\}", said)) == set(re.findall(r"\{\w+\}", chinese[key])), key
    assert set(NAMES) == set(WORDS)


def test_a_browser_gets_its_language_and_a_link_to_the_other(client: httpx.Client) -> None:
    for accepted, language, other in (("zh-CN,en;q=0.5", "zh", "en"), ("en", "en", "zh")):
        found = client.get("/", headers={"accept-language": accepted})
        assert found.headers["content-language"] == language
        assert found.headers["vary"] == "Accept-Language"
        assert f'<html lang="{language}">' in found.text
        assert f'href="?lang={other}"' in found.text
        assert bool(HAN.search(visible(found.text))) == (language == "zh")
        assert f'<html lang="{other}">' in client.get(f"/?lang={other}", headers={"accept-language": accepted}).text


def test_nothing_is_loaded_run_or_framed(client: httpx.Client) -> None:
    found = client.get("/")
    policy = found.headers["content-security-policy"]
    for rule in ("default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"):
        assert rule in policy
    assert "script" not in found.text
    assert not re.findall(r"(?:src|action)=|url\(|@import", found.text)
    assert all(link.startswith(("/", "?lang=")) for link in re.findall(r'href="([^"]*)"', found.text))


class TestLocked:
    @pytest.fixture
    def environment(self) -> dict[str, str]:
        return {"LUBAN_API_KEY": KEY}

    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_without_the_key_it_tells_nothing_of_the_model(self, client: httpx.Client, language: str) -> None:
        text = client.get(f"/?lang={language}").text
        assert WORDS[language]["locked"] in text  # type: ignore[index]
        for secret in ("reviews", "unhappy", "stars", "a" * 12):
            assert secret not in text
        assert 'href="/v1/model"' not in text, "a browser has no key to send"

    def test_with_the_key_the_command_names_it(self, client: httpx.Client) -> None:
        text = client.get("/", headers={"authorization": f"Bearer {KEY}"}).text
        assert "unhappy" in text
        assert "Authorization: Bearer $LUBAN_API_KEY" in text
        assert KEY not in text


def test_no_model_yet() -> None:
    for language in WORDS:
        text = page(None, "Nothing is <released>.", Asked("a.example", language)).decode()
        assert WORDS[language]["none"] in text
        assert "Nothing is &lt;released&gt;." in text


def test_a_host_that_is_none_is_not_shown() -> None:
    text = page(None, "", Asked('x" onload=alert(1)', is_locked=True, needs_key=True)).decode()
    assert "onload" not in text
    assert "http://127.0.0.1:8000/v1/model" in text

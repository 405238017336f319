import pytest

from experiments.language.redaction import REDACTED, looks_secret, redact
from experiments.language.source import from_values
from experiments.language.yaml_text import parse


@pytest.mark.parametrize(
    "key",
    ["password", "api_key", "apiKey", "APIKey", "WANDB_API_KEY", "hf-token", "github.token",
     "db.passwd", "clientSecret", "aws_secret_access_key", "private.key"],
)  # fmt: skip
def test_a_key_that_names_a_secret_is_known(key: str) -> None:
    assert looks_secret(key)


@pytest.mark.parametrize(
    "key", ["team", "tokenizer", "num_tokens", "key", "keyboard", "author", "secretary", "monkey"]
)
def test_other_keys_are_left_alone(key: str) -> None:
    assert not looks_secret(key)


@pytest.mark.parametrize(
    "text",
    [
        "name: t\ntags: {team: vision, api_key: s3same}\nseeds: 2\n",
        "name: t # für ß 😀\ntags:\n  team: vision\n  api_key: 's3same'  # mine\nseeds: 2\n",
        "name: t\ntags:\n  api_key: |\n    s3same\n  team: vision\nseeds: 2\n",
        '{"tags": {"api_key": "\\x733same", "team": vision}, "name": t, "seeds": 2}',
        "\ufeffname: t\ntags: {? api_key : 's3''same', team: vision}\nseeds: 2\n",
    ],
)
def test_a_secret_leaves_the_values_and_the_text_and_nothing_else_does(text: str) -> None:
    root, clean, warnings = redact(parse(text, source="s"), text)
    expected = {"name": "t", "seeds": 2, "tags": {"api_key": REDACTED, "team": "vision"}}
    assert root.plain() == expected
    assert "same" not in clean
    assert parse(clean, source="s").plain() == expected
    assert warnings == (
        "tags.api_key looks like a secret: its value is not kept; take it out of the spec",
    )


def test_a_spec_without_secrets_stays_as_it_is() -> None:
    text = "name: t\ntags: {team: vision}\n"
    root = parse(text, source="s")
    assert redact(root, text) == (root, text, ())


def test_secrets_among_python_values_are_taken_out() -> None:
    root, text, warnings = redact(from_values({"tags": {"token": 7}}), "")
    assert (root.plain(), text, len(warnings)) == ({"tags": {"token": REDACTED}}, "", 1)


@pytest.mark.parametrize("text", ["- a\n", "tags: 1\n", "tags: [{token: 1}]\n"])
def test_what_is_no_spec_is_left_to_the_reader(text: str) -> None:
    root = parse(text, source="s")
    assert redact(root, text) == (root, text, ())

import pytest

from danlu.blocks.untrusted import check_template, check_weights
from danlu.core.errors import DataError
from malicious import TEMPLATES, weights

GOOD_TEMPLATES = [
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] }}{% endfor %}",
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% endif %}{{ bos_token }}",
    "{% for m in messages %}{{ messages[loop.index0 - 1].content.split('</think>')[-1].strip() }}{% endfor %}",
    "{%- if not loop is defined %}{{ raise_exception('x') }}{% endif %}{{ tools | tojson(indent=4) }}",
    "{% set ns = namespace(found=false) %}{% generation %}{{ m }}{% endgeneration %}",
    "{% for k, v in tool.items() %}{{ k ~ ': ' ~ v }}{% endfor %}{{ strftime_now('%d %b %Y') }}",
]


@pytest.mark.parametrize("text", GOOD_TEMPLATES)
def test_templates_of_real_models_are_let_in(text):
    check_template(text)


@pytest.mark.parametrize("text", TEMPLATES)
def test_templates_that_reach_out_are_not(text):
    with pytest.raises(DataError, match="the chat template"):
        check_template(text)


def test_a_long_template_is_not_even_parsed():
    with pytest.raises(DataError, match="longer than a million characters"):
        check_template("{{ a }}" * 200_000)


@pytest.mark.parametrize("name", weights())
def test_weights_that_are_not_numbers_or_not_whole(tmp_path, name):
    (tmp_path / "model.safetensors").write_bytes(weights()[name])
    with pytest.raises(DataError, match=r"not numbers|not a whole safetensors file"):
        check_weights(tmp_path, ["model.safetensors"])

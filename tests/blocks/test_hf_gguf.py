"""A model in a GGUF file becomes a folder, once, with the file's numbers; what is none is refused."""

import json

import numpy as np
import pytest

from danlu.blocks import hf, hf_gguf
from danlu.blocks.tokens import TextProcessor
from danlu.core import plugin
from danlu.core.errors import DataError, MachineError

WIDTH, INNER, HEADS = 64, 96, 2
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefgh0123456789", "Ġ", "Ċ", "ab", "12"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(path):
    """A llama of one layer, in 32 bits."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in (
        ("block_count", 1), ("context_length", 48), ("embedding_length", WIDTH), ("feed_forward_length", INNER),
        ("head_count", HEADS), ("head_count_kv", HEADS), ("layer_norm_rms_eps", 1e-5), ("rope_freq_base", 1e4),
        ("tokenizer_model", "gpt2"), ("tokenizer_pre", "smollm"), ("token_list", TOKENS), ("token_merges", ["a b", "1 2"]),
        ("token_types", [3, 3, 3] + [1] * (len(TOKENS) - 3)), ("bos_token_id", 1), ("eos_token_id", 2), ("pad_token_id", 2),
        ("chat_template", "{{ messages[0]['content'] }}"), ("vocab_size", len(TOKENS)),
    ):  # fmt: skip
        getattr(writer, f"add_{add}")(value)
    rng = np.random.default_rng(0)
    square, layer = (WIDTH, WIDTH), "blk.0."
    shapes = {"token_embd": (len(TOKENS), WIDTH), "output_norm": (WIDTH,), f"{layer}attn_norm": (WIDTH,)}
    shapes |= {f"{layer}ffn_norm": (WIDTH,), **{f"{layer}attn_{name}": square for name in ("q", "k", "v", "output")}}
    shapes |= {f"{layer}ffn_gate": (INNER, WIDTH), f"{layer}ffn_up": (INNER, WIDTH), f"{layer}ffn_down": (WIDTH, INNER)}
    tensors = {f"{name}.weight": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def test_it_becomes_a_folder_with_the_same_numbers(cache, tmp_path):
    tensors = write(tmp_path / "model.gguf")
    made = hf_gguf.opened(tmp_path)
    assert made.parent.parent == cache
    weights = hf.read_weights(made)
    assert np.array_equal(weights["model.embed_tokens.weight"], tensors["token_embd.weight"])
    assert np.array_equal(weights["model.layers.0.mlp.down_proj.weight"], tensors["blk.0.ffn_down.weight"])
    assert "lm_head.weight" not in weights
    told = json.loads((made / "config.json").read_text())
    assert (told["model_type"], told["num_hidden_layers"]) == ("llama", 1)
    assert "quantization_config" not in told
    processor = TextProcessor.load(made)
    assert [processor.token(k) for k in processor.ids("<|im_start|>ab12")] == ["<|im_start|>", "ab", "1", "2"]
    assert processor.most == 48
    assert processor.chat_template() == "{{ messages[0]['content'] }}"
    stamp = (made / "model.safetensors").stat().st_mtime_ns
    assert hf_gguf.opened(tmp_path) == made
    assert (made / "model.safetensors").stat().st_mtime_ns == stamp
    assert hf_gguf.opened(made) == made


def test_what_is_no_model(cache, tmp_path):
    pytest.importorskip("gguf")
    (tmp_path / "a.gguf").write_bytes(b"GGUF nothing of the kind, but longer than a header")
    with pytest.raises(DataError, match=r"it is no GGUF file|transformers can't read it"):
        hf_gguf.opened(tmp_path)
    assert not [path for path in (cache / "gguf").iterdir() if path.is_dir()]
    (tmp_path / "b.gguf").write_bytes(b"x")
    with pytest.raises(DataError, match=r"there are 2 GGUF files, and one is a model: a\.gguf, b\.gguf"):
        hf_gguf.opened(tmp_path)


def test_without_the_package_it_is_named(cache, tmp_path, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(b"x")
    monkeypatch.setattr(hf_gguf, "_gguf", plugin.lazy("no_such_gguf", "gguf"))
    with pytest.raises(MachineError, match=r"not installed[^→]*→ pip install 'danlu\[gguf\]'"):
        hf_gguf.opened(tmp_path)
    assert hf_gguf.opened(cache) == cache

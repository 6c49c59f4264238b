"""Learn word pieces from counted words: the commonest neighbours are joined, again and again (Sennrich et al., 2016).

A letter that begins a word is another than the same letter inside one. The library's own trainer numbers the second
kind in the order of a hash table; here a space is put before every word instead and joined like a letter, which tells
the two apart without a second form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from danlu.blocks.tokenizers import joined
from danlu.blocks.tokens import INSIDE


def learn(words: Mapping[str, int], size: int) -> list[str]:
    """At most `size` pieces: letters, alone and inside a word, then what was joined, in that order.

    Letters take at most half of the places, the commonest first; a word with a rarer one is not learnt from, and the
    rarer ones get what places are left. A letter that is always a word of its own (a Chinese character) takes a place
    by how often it occurs, and has one form.
    """
    letters = Counter[str]()
    for word, count in words.items():
        if len(word) > 1:
            for letter in word:
                letters[letter] += count
    commonest = sorted(letters, key=lambda letter: (-letters[letter], letter))
    kept = sorted(commonest[: size // 4])
    pieces = dict.fromkeys([*kept, *(INSIDE + letter for letter in kept)])
    known = {f" {w}": n for w, n in words.items() if len(w) == 1 or set(w) <= set(kept)}
    alphabet = len({letter for word in known for letter in word})
    for made in joined(known, 2 * size + alphabet):  # a letter joined with its space is a piece already
        pieces[made[1:] if made.startswith(" ") else INSIDE + made] = None
    pieces |= dict.fromkeys(form + letter for letter in commonest for form in ("", INSIDE))
    return list(pieces)[:size]

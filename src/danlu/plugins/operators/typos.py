"""Mistakes of typing and of scanning: neighbouring keys, letters out of order, look-alikes, Chinese homophones."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
from pydantic import Field

from danlu.blocks.augment import AugmentText, Varied, pick, some

Kind = Literal["keyboard", "order", "ocr", "shape", "sound"]

_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_LOOK_ALIKES = (
    "0Oo",
    "1lI|",
    "5Ss",
    "8B",
    "2Zz",
    "6b",
    "9gq",
    "uv",
    "ce",
    "hb",
    "nr",
    "ft",
    "Qo",
    "DO",
    "ij",
    "GC",
    "xk",
)
_SHAPES = (
    "己已巳", "末未", "土士", "日曰", "人入八", "大太犬", "天夫", "由田甲申", "午牛", "千干于", "贝见", "鸟乌",
    "刀力", "晴睛", "请清情", "拔拨", "戊戌戍", "侯候", "徒徙", "辨辩辫", "洒酒", "免兔", "蓝篮", "渴喝", "折拆",
    "今令", "治冶", "泪汨", "茶荼", "栗粟", "赢羸", "祟崇", "钩钓", "问间", "史吏", "王玉", "目自", "木本",
    "环坏", "抢抡", "孤狐", "析折", "住往", "季李", "厉历", "乐东", "小少", "白百",
)  # fmt: skip
_SOUNDS = (
    "的地得", "在再", "做作", "他她它", "坐座", "像象", "以已", "那哪", "园圆", "帐账", "须需", "既即", "练炼", "副幅",
    "克刻", "决绝", "密蜜", "分份", "反返", "合和", "是事", "有又", "带戴", "元圆", "吗嘛", "进近", "长常", "道到",
    "其期", "力利", "原源", "才材", "班般", "报抱", "必毕", "采彩", "查察", "程成", "订定", "度渡",
    "发法", "费废", "服福", "副富", "工公功", "机几", "记纪", "交教", "经精", "救就", "连联", "竟竞", "气汽",
)  # fmt: skip


def _around() -> dict[str, str]:
    """Each key with those that touch it on a QWERTY keyboard."""
    near: dict[str, str] = {}
    for row, keys in enumerate(_ROWS):
        for place, key in enumerate(keys):
            sides = [keys[k] for k in (place - 1, place + 1) if 0 <= k < len(keys)]
            above = _ROWS[row - 1][place : place + 2] if row else ""
            below = _ROWS[row + 1][max(place - 1, 0) : place + 1] if row + 1 < len(_ROWS) else ""
            near[key] = "".join([*sides, above, below])
    return near | {key.upper(): others.upper() for key, others in near.items() if key.isalpha()}


def _groups(groups: tuple[str, ...]) -> dict[str, str]:
    known: dict[str, str] = {}
    for group in groups:
        for one in group:
            others = known.get(one, "") + group.replace(one, "")
            known[one] = "".join(dict.fromkeys(others))
    return known


_INSTEAD: dict[Kind, dict[str, str]] = {
    "keyboard": _around(),
    "ocr": _groups(_LOOK_ALIKES),
    "shape": _groups(_SHAPES),
    "sound": _groups(_SOUNDS),
}


class Typos(AugmentText):
    """New training rows with mistakes, so that a model meets them before its users make them; the label stays.

    The tables are small: a QWERTY keyboard, 17 groups of Latin look-alikes, about 50 groups each of Chinese characters
    that look alike and that sound alike, tones aside. They stand for what happens, not for how often.
    """

    kinds: tuple[Kind, ...] = Field(default=("keyboard", "order", "ocr", "shape", "sound"), min_length=1)
    """`keyboard`: a key beside it; `order`: two letters change places; `ocr`: what a scanner mistakes; `shape` and
    `sound`: Chinese characters that look or sound alike."""
    rate: float = Field(default=0.03, gt=0, le=1)
    """The share of the characters that can be mistaken which are; at least one."""

    def vary(self, value: str, rng: np.random.Generator) -> Varied | None:
        """One kind a text, of those that find something in it."""
        can = {kind: places for kind in self.kinds if (places := _places(value, kind))}
        if not can:
            return None
        kind = pick(rng, list(can))
        letters = list(value)
        for at in some(rng, can[kind], self.rate):
            if kind == "order":
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
            else:
                letters[at] = pick(rng, _INSTEAD[kind][letters[at]])
        return Varied("".join(letters), kind)


def _places(text: str, kind: Kind) -> list[int]:
    """Where a mistake of this kind can happen."""
    if kind == "order":
        pairs = enumerate(itertools.pairwise(text))
        return [at for at, (a, b) in pairs if a != b and a.isalpha() and b.isalpha() and a.isascii() and b.isascii()]
    known = _INSTEAD[kind]
    return [at for at, letter in enumerate(text) if letter in known]

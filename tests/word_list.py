"""Sixteen short words that made-up sentences are made of."""

WORDS = [
    "amber",
    "basil",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "haven",
    "inlet",
    "jetty",
    "knoll",
    "lemon",
    "maple",
    "north",
    "ocean",
    "pearl",
]

"""A small treebank's grammar: sentences about films as trees of two parts, with the sentiment of every phrase.

    clause        the film is A
    A             a word; very A, slightly A; not A
    sentence      a clause; nobody says S, everybody says S; S and S, S but S

The sentiment of a phrase, from -2 (very bad) to 2 (very good), follows from those of its parts:

    very, everybody says      2 in size, with the same sign
    slightly                  1 in size, with the same sign
    not, nobody says          1 in size, with the other sign: not awful is no praise
    S and T                   the sum, within the limits
    S but T                   what comes last, unless that is neutral
"""

from dataclasses import dataclass
from functools import cached_property

import torch

ADJECTIVES = {2: ("great", "superb", "brilliant"), 1: ("good", "nice", "decent"), 0: ("long", "new", "odd")}
ADJECTIVES |= {-1: ("bad", "dull", "weak"), -2: ("awful", "dreadful", "terrible")}
NOUNS = "film", "plot", "cast", "music", "ending", "script", "camera", "dialogue"
LOWEST = 2  # the height of a clause without adverbs


@dataclass(frozen=True)
class Tree:
    """A word, or two parts, with its sentiment."""

    label: int
    word: str = ""
    parts: tuple["Tree", ...] = ()

    @cached_property
    def height(self):
        return 1 + max(part.height for part in self.parts) if self.parts else 0

    @cached_property
    def phrases(self):
        """All trees in this one, parts first."""
        return [phrase for part in self.parts for phrase in part.phrases] + [self]

    @cached_property
    def words(self):
        return [phrase.word for phrase in self.phrases if phrase.word]


def sign(label):
    return (label > 0) - (label < 0)


MEANING = {
    "very": lambda label: 2 * sign(label),
    "slightly": sign,
    "not": lambda label: -sign(label),
    "nobody": lambda label: -sign(label),
    "everybody": lambda label: 2 * sign(label),
    "and": lambda first, last: max(-2, min(2, first + last)),
    "but": lambda first, last: last or first,
}


WORDS = ["the", "is", "says", *MEANING, *NOUNS, *(word for words in ADJECTIVES.values() for word in words)]
CODES = {word: torch.tensor(code) for code, word in enumerate((*WORDS, ""))}  # the last is for what is no word


def joined(label, *parts):
    """A tree of two parts, of which words given as such are neutral."""
    return Tree(label, parts=tuple(Tree(0, part) if isinstance(part, str) else part for part in parts))


def modified(adverb, phrase):
    return joined(MEANING[adverb](phrase.label), adverb, phrase)


def clause(noun, phrase):
    return joined(phrase.label, joined(0, "the", noun), joined(phrase.label, "is", phrase))


def said(who, sentence):
    return joined(MEANING[who](sentence.label), joined(0, who, "says"), sentence)


def linked(first, link, last):
    return joined(MEANING[link](first.label, last.label), first, joined(last.label, link, last))


class Writer:
    """Trees of given heights, each choice with the same chance."""

    def __init__(self, rng):
        self.rng = rng

    def choose(self, options):
        return options[torch.randint(len(options), (), generator=self.rng)]

    def adjective(self, height, adverbs=("very", "slightly", "not")):
        if height == 0:
            label = self.choose(list(ADJECTIVES))
            return Tree(label, self.choose(ADJECTIVES[label]))
        adverb = self.choose(adverbs)
        below = adverbs if adverb == "not" else ("very", "slightly")  # one isn't very not good
        return modified(adverb, self.adjective(height - 1, below))

    def sentence(self, height):
        kinds = [self.clause] * (height <= 5) + [self.said] * (height > LOWEST) + [self.linked] * (height > LOWEST + 1)
        return self.choose(kinds)(height)

    def clause(self, height):
        return clause(self.choose(NOUNS), self.adjective(height - LOWEST))

    def said(self, height):
        return said(self.choose(("nobody", "everybody")), self.sentence(height - 1))

    def linked(self, height):
        """The height is that of one side, and the other is at most a clause with two adverbs high."""
        high, low = height - self.choose((1, 2)), self.choose(range(LOWEST, min(height - 1, 5)))
        first, last = (high, low) if height - high == 1 else (low, high)
        return linked(self.sentence(first), self.choose(("and", "but")), self.sentence(last))


# What no sentence of the training has in it: by name, whether a phrase is put together so.

RARE = {
    "not very": lambda by, first, last: by.word == "not" and first.word == "very",
    "nobody says ... but": lambda by, first, last: by.words[0] == "nobody" and last.words[0] == "but",
}


def rare(tree):
    """The names of what is rare in a tree."""
    nested = [(phrase.parts[0], *phrase.parts[1].parts) for phrase in tree.phrases if phrase.parts]
    return {name for name, here in RARE.items() for parts in nested if len(parts) == 3 and here(*parts)}


def treebank(n, heights, accepts, rng, tries=100):
    """n different trees that are accepted; their heights take turns."""
    writer, found = Writer(rng), {}
    for _ in range(tries * n):
        if len(found) == n:
            return list(found)
        tree = writer.sentence(heights[len(found) % len(heights)])
        if accepts(tree):
            found[tree] = None
    raise ValueError(f"{n} trees of heights {heights}: after {tries * n} tries there are {len(found)}; ask for fewer")

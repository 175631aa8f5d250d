"""Removes conclusions from captions: movements of the face stay, named emotions go.

FineCLIPER deletes the clauses of a caption that name or conclude an emotion, with a tool the paper
does not show. Here they are found by keywords: a clause is removed if it names an emotion (including "a
slight smile", as in the paper) or concludes ("indicating", "conveying"), together with its dependents.
"""

from __future__ import annotations

import re

_EMOTIONS = (
    # The classes of the field, and common words for them.
    r"happ(?:y|i(?:ly|er|est|ness))|unhapp\w+|joy\w*|cheer\w*|delight\w*|glad\w*|elat\w+|ecsta\w+|"
    r"smil\w+|grin\w*|smirk\w*|amus\w+|excit\w+|enthusias\w+|pleas(?:ed|ure\w*|ant\w*)|satisf\w+|playful\w*|"
    r"sad(?:ly|der|dened|ness)?|sorrow\w*|grie[fv]\w*|miser\w+|melanchol\w+|gloom\w*|depress\w+|"
    r"distress\w*|upset\w*|lonel\w+|regret\w*|remorse\w*|"
    r"neutral\w*|calm\w*|seren(?:e|ity)|indifferen\w+|"
    r"ang(?:er|ry|rily|ered)|rage|enraged|fur(?:y|ious\w*)|hostil\w+|aggress\w+|annoy\w+|irritat\w+|"
    r"frustrat\w+|hat(?:red|eful)|resent\w+|"
    r"surpris\w+|astonish\w*|amaz\w+|shock\w*|startl\w+|disbelief|"
    r"disgust\w*|repuls\w+|revuls\w+|displeas\w+|dislike|dissatisf\w+|"
    r"fear\w*|afraid|scared|frighten\w*|terr(?:or|if)\w*|horr(?:or|if)\w*|panic\w*|dread\w*|"
    r"contempt\w*|disdain\w*|scorn\w*|anxi(?:ety|ous\w*)|nervous\w*|apprehens\w+|worr(?:y|ied|ies)\w*|"
    r"uneas\w+|discomfort\w*|stress(?:ed|ful)|helpless\w*|hopeless\w*|despair\w*|disappoint\w+|dismay\w*|"
    # Other states inferred from a face.
    r"confus(?:ed|ion)|puzzl\w+|perplex\w+|curio\w+|embarrass\w+|asham\w+|guilt\w*|pride|proud\w*|"
    r"affection\w*|friendl\w+|approachab\w+|confiden(?:t|tly|ce)|relief|relieved|concern(?:ed)?|"
    r"empath\w+|sympath\w+|tranquil\w*|content(?:ed|ment)"
)
_FEELING = (
    r"emotion\w*|feelings?|feels?|mood|demeanou?r|sentiments?|attitude|state of mind|sense of"
)
_FINITE = (
    r"(?:indicat|suggest|convey|impl|signif|emphasi[sz]|evok|reflect|hint|communicat|demonstrat|"
    r"express)(?:e?s|y|ies|e|ed|ied)?"
)
_PARTICIPLE = (
    r"(?:indicat|suggest|convey|imply|signify|emphasi[sz]|evok|reflect|hint|communicat|demonstrat|"
    r"express|signal+)ing"
)
_FEATURES = (
    r"mouths?|lips?|teeth|tongue|jaws?|chin|cheeks?|nose|nostrils?|eyes?|eyelids?|eyebrows?|brows?|"
    r"eyelashes|pupils|foreheads?|gaze|glances?|stares?|blink\w*|squint\w*|frown\w*|wrinkl\w+|"
    r"furrow\w*|tears?|heads?|neck|shoulders?|hands?|arms?|fingers?|breath\w*|swallow\w*|nod\w*|"
    r"shak\w+|tilt\w*|pout\w*|muscles?|dimples?|upturned|downturned"
)
_DOINGS = (
    # Movements of a face that name no feature.
    r"talk\w*|speak\w*|laugh\w*|cry|cries|crying|yawn\w*|sigh\w*|chew\w*|sniff\w*|wink\w*|winc\w+|"
    r"grimac\w+|look(?:s|ing) (?:at|up|down|away|to|ahead|straight)|relaxed|motionless|expressionless"
)
_MOVED = (
    r"\w+(?:ed|ing)|open\w*|wide\w*|shut\w*|tight\w*|narrow\w*|slight|deep|drop\w*|rais\w+|lower\w*|"
    r"lift\w*|clos\w+|press\w*|purs\w+|part|curl\w*|stretch\w*|pull\w*|mov\w+|turn\w*|trembl\w*|"
    r"quiver\w*|twitch\w*|clench\w*"
)

_NAMES = re.compile(rf"\b(?:{_EMOTIONS}|{_FEELING})\b", re.IGNORECASE)
_CONCLUDES = re.compile(rf"\b(?:indication|{_FINITE}|{_PARTICIPLE}|as if|as though)\b", re.I)
_OF_A_FACE = re.compile(r"\b(?:facial expressions?|expressions?|expression of)\b", re.IGNORECASE)
_FEATURE = re.compile(rf"\b(?:{_FEATURES})\b", re.IGNORECASE)
# Not _FEELING: a refusal says that it cannot tell emotions.
_ABOUT_A_FACE = re.compile(rf"\b(?:{_FEATURES}|{_DOINGS}|{_EMOTIONS})\b", re.IGNORECASE)
_MOVEMENT = re.compile(rf"\b(?:{_MOVED})\b", re.IGNORECASE)

_WORD = re.compile(r"\w")
_TAG = re.compile(r"<[^<>]*>")  # <head> is markup
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z])|\n+")
_MARKUP = re.compile(r"^\s*(?:[-*•#>]+|\d+[.)])\s+|\*\*|__|`", re.MULTILINE)
_CLAUSE = re.compile(r"\s*[,;]\s+|\s+[–—-]+\s+|\s*—\s*")
_SUMMARY = re.compile(r"(?:overall|in summary|in conclusion|altogether|to summari[sz]e)\b", re.I)
_LEAD_IN = re.compile(
    r"(?:additionally|furthermore|moreover|however|also|then|finally|meanwhile|in|at|on|during|"
    r"throughout|as|when|while|from|after|before|towards?)\b",
    re.IGNORECASE,
)
_PIECE = re.compile(
    r"\s+(?=(?:and|but|or|while|whereas|with|in|as|which|that|who)\b)"
    rf"|\s+(?=(?:(?:further|possibly|perhaps|likely|clearly|thus)\s+)?{_PARTICIPLE}\b)"
    rf"|\s+(?={_FINITE}\b)",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^(?:and|but|or|while|whereas|with|as well as|as|which|that|who|also|then)\b\s*", re.IGNORECASE
)
_RELATIVE = re.compile(r"(?:who|whose|which)\b", re.IGNORECASE)
_DANGLING = re.compile(
    r"(?:^|\s+)(?:and|but|or|with|in|as|of|to|a|an|the|is|are|was|were|be|been|seems?|appears?|looks?|"
    r"filled|full|shows?|displays?|that|which|who|his|her|their|its|very|more|it|he|she|they|there|this|"
    r"these)$",
    re.IGNORECASE,
)


def refine(text: str) -> str:
    """Returns a caption without the clauses that name or conclude an emotion.

    A sentence without such clauses is unchanged except for white space and markup. The rest of any other
    sentence starts with a capital letter, ends with a full stop, and has no dangling "and".

    Args:
        text: English prose, as a language model writes it.

    Returns:
        One line; empty if nothing is left.
    """
    plain = _MARKUP.sub("", text)
    sentences = (" ".join(sentence.split()) for sentence in _SENTENCE.split(plain))
    return " ".join(filter(None, map(_refine_sentence, sentences)))


def describes_a_face(text: str) -> bool:
    """Returns whether a feature, a movement or an emotion is named, in English.

    A refusal, an HTML page or a text in another language has none of them.
    """
    return bool(_ABOUT_A_FACE.search(_TAG.sub(" ", text)))


def _is_conclusion(text: str) -> bool:
    """Returns whether a clause names or concludes; "the expression is characterised by …" does not."""
    without = _OF_A_FACE.sub("", text)
    return bool(_NAMES.search(without) or _CONCLUDES.search(without))


def _refine_sentence(sentence: str) -> str:
    if not _is_conclusion(sentence):
        return sentence if _WORD.search(sentence) else ""
    if _SUMMARY.match(sentence):
        return ""
    clauses = _clauses(sentence.rstrip(".!? "))
    kept: list[str] = []
    dependent = False  # items after a removed clause are removed too, unless they are movements
    inserted = False  # "The man, who is sad, opens …": without the insertion there is no comma
    for clause in clauses:
        rest = _refine_clause(clause)
        if dependent and not _FEATURE.search(rest) and not inserted:
            continue
        if rest and inserted and kept and not _OPENING.match(rest):
            kept[-1] += f" {rest}"
        elif rest:
            kept.append(rest)
        dependent = rest != clause
        inserted = not rest and bool(_RELATIVE.match(clause))
    if kept and kept[0] != clauses[0]:
        kept[0] = _OPENING.sub("", kept[0])
    return _write(kept)


def _clauses(sentence: str) -> list[str]:
    """Cuts at commas; "Additionally" and "In the video" stay with what they lead to."""
    first, *others = filter(None, _CLAUSE.split(sentence))
    if others and _LEAD_IN.match(first) and not _is_conclusion(first):
        first = f"{first}, {others.pop(0)}"
    return [first, *others]


def _refine_clause(clause: str) -> str:
    if not _is_conclusion(clause):
        return clause
    pieces = _PIECE.split(clause)
    kept: list[str] = []
    gone = False
    for piece in pieces:
        if _is_conclusion(piece):
            gone = True
        elif not gone or (_FEATURE.search(piece) and _MOVEMENT.search(piece)):
            kept.append(piece)
    rest = _without_loose_ends(" ".join(kept))
    # A subject without its verb is kept only if it is a feature that moved.
    says = _FEATURE.search(rest) and _MOVEMENT.search(rest)
    return rest if says or _has_verb(rest) else ""


def _has_verb(text: str) -> bool:
    return bool(re.search(r"\b(?:is|are|was|were|has|have|had)\s+\w+", text, re.IGNORECASE))


def _without_loose_ends(text: str) -> str:
    before = ""
    while before != text:
        before = text
        text = _DANGLING.sub("", text.strip(" ,;:–—-"))
    return text


def _write(clauses: list[str]) -> str:
    text = _without_loose_ends(", ".join(filter(None, clauses)))
    return f"{text[0].upper()}{text[1:]}." if text else ""
